"""The pure core: values in, values out; no trio, no sockets, no files, no clock, no logging."""
