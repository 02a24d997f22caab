"""Generated Python package of the OpenSQT wire contract: messages, clients and servicers."""
