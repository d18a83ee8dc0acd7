"""Tests of tools/cluster. They need root, start and stop the machine's one cluster, and so are run
when asked for: `make cluster-test`."""
