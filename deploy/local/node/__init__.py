"""An embedded, single-node, Aerospike-compatible server for development and tests. Never for production.

Run it with `python -m deploy.local.node --port 3000 --data DIR --namespace test`.
"""
