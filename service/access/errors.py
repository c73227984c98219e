"""What the access room refuses."""

from typing import ClassVar

from service.kit.errors import Conflict, Invalid, NotFound


class UnknownKey(NotFound):
    """There is no such key."""

    code: ClassVar[str] = "unknown-key"


class KeyNotLive(Conflict):
    """This key was revoked or has expired."""

    code: ClassVar[str] = "key-not-live"


class StorefrontKeyNeeded(Invalid):
    """A member token needs a storefront key that stands."""

    code: ClassVar[str] = "storefront-key-needed"
