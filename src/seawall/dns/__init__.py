"""Names to addresses. Knows neither an HTTP library nor the wire."""

from ..origin import Address
from .guard import Guard
from .resolver import Answer, Rank, Resolver
from .srv import SRVResolver
from .static import ChainResolver, FunctionResolver, StaticResolver

__all__ = [
    "Address",
    "Answer",
    "ChainResolver",
    "FunctionResolver",
    "Guard",
    "Rank",
    "Resolver",
    "SRVResolver",
    "StaticResolver",
]
