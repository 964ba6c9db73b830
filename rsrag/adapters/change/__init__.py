"""What changed between dates: mask, magnitude, outlines with areas, kinds of ground, and answers from them."""

from rsrag.adapters.change.request import ChangeRequest, ChangeResult, QuestionAnswer, Transition
from rsrag.adapters.change.run import Change

__all__ = ["Change", "ChangeRequest", "ChangeResult", "QuestionAnswer", "Transition"]
