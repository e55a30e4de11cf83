"""
What must hold of input that others make, whatever it is.

Said once, for the tests, which make such input by hypothesis, and for atheris, which is led by the code it
reaches (``make fuzz``).
"""
