"""One module for each remote system: how it spells the contract that all of them share."""
