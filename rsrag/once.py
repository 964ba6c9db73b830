"""A property that is made at first use, once, whichever threads ask for it at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")
_LOCK = "_making"


class once(Generic[T]):
    """Like :class:`functools.cached_property`, which lets every thread make a value of its own (from Python 3.12 on) or
    lets the instances of a class wait for each other (before).

    Threads wait for the one that makes the value; it is kept in the instance's ``__dict__`` under the property's name,
    where it can be replaced or taken out. One that could not be made is tried again.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...

    def __get__(self, instance: object | None, owner: type[Any] | None = None) -> Self | T:
        if instance is None:
            return self
        kept = instance.__dict__
        # One lock for all properties of an instance: they need each other, and two locks could be taken crosswise.
        with kept.setdefault(_LOCK, threading.RLock()):
            if self._name not in kept:
                kept[self._name] = self._make(instance)
            value: T = kept[self._name]
            return value
