"""The asyncio process: it wires everything and extends an invocation only while a flush runs."""
