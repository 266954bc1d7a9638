"""What the node computes on values: collections and expressions, as pure functions without I/O.

collections   list and map operations: bytes of the operation and of the bin in, bytes of the result out
expressions   filters and expression operations over one record
values        the value order every sort, rank and comparison follows

Facts: the wire protocol reference, sections 3.5, 7 and 8 (answers of Aerospike Community Edition 8.1.1.2).
"""
