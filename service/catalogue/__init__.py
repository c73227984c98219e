"""What is sold: items by the merchant's own sku, with names per locale, categories, price and stock.

A sku first seen in an order is remembered as a stub, so that no order is refused for it.
Prices here are for showing; what was paid stands in the order.
"""
