"""The row as a pydantic model."""

from pydantic import BaseModel


class Row(BaseModel):
    """Eight numbers and three texts."""

    n0: float
    n1: float
    n2: float
    n3: float
    n4: float
    n5: float
    n6: float
    n7: float
    s0: str
    s1: str
    s2: str
