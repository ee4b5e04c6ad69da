"""Replacement policies, one file each, and the contract that every policy keeps."""
