"""Turn purchase histories into ranked lists: arrays in, arrays out.

A training run reads interactions, fits small models and writes one read-only artefact; serving opens that
artefact with numpy alone and ranks a history handed to it at the moment of asking.
Nothing here knows a database, a web framework or the business around it.
"""
