"""What the catalogue refuses."""

from service.kit.errors import NotFound


class UnknownItem(NotFound):
    """There is no item with this sku."""

    code = "unknown-item"
