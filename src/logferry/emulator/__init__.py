"""A local Lambda: the platform's side of the wire, for judging an external extension without an account.

It is an island. It imports nothing from the rest of the package, so a mistake made there cannot be made here in
agreement with it. `lambda_service` is the door.
"""
