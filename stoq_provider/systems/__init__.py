"""
One module or package for each remote system: how it spells the contract that all of them share.

Each fact about a vendor is marked by how certain it is:

- D: documented by the vendor, on the page named in brackets, such as ``[bulk]``;
- M: measured on a real server;
- S: read in the vendor's source;
- I: inferred from what is documented;
- U: unknown.

What is inferred or unknown about an API that is documented only in part stands in the ``ASSUMPTIONS`` of its
system, in one place, and parameters of hooks and operators override what is sent.
"""
