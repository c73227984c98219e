"""The API as others read it: the whole OpenAPI document, the reference under `/docs`, guide and problems.

It adds to what the routes say of themselves the examples (recorded from real answers), the links between
operations and the groups a reader looks for. All of it comes from files of this package, without scripts.
"""
