"""The API as others read it: the whole OpenAPI document, the reference under `/docs`, the guide and the problems.

It adds to what the routes say of themselves the examples (recorded from real answers), the links between
operations and the groups a reader looks for. Everything is served from files of this package, without scripts.
"""
