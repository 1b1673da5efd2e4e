"""What stands around a document for a causal language model, as its pre-training had it. Imports no torch.

It is found out once, when the base is imported (`checkpoints.probe.separators`), and goes with every generation: asked
of each generation anew it could change with what was trained, and with it what every document costs.
"""

from pathlib import Path
from typing import Any, Final

from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass

from checkpoints.json_files import STRICT, read_beside, write_json

FRAME_FILE: Final = "document_frame.json"


@dataclass(frozen=True, slots=True, config=STRICT)
class DocumentFrame:
    """The tokens around a document; None for none.

    Attributes:
        opening: before each.
        closing: behind each.
        leads: whether the later pieces of a long document begin with the opening token as well.
    """

    opening: NonNegativeInt | None
    closing: NonNegativeInt | None
    leads: bool = False

    @property
    def lead(self) -> int | None:
        """The token that later pieces begin with; None for none."""
        return self.opening if self.leads else None

    def describe(self, tokenizer: Any) -> str:
        """How documents are framed, for people."""
        named = [tokenizer.convert_ids_to_tokens(mark) for mark in (self.opening, self.closing) if mark is not None]
        if not named:
            return "documents follow each other with nothing between: the tokenizer has no token for it"
        if self.opening == self.closing:
            around = f"{named[0]} stands before and behind each document"
        elif self.closing is None or self.opening is None:
            around = f"{named[0]} stands {'before' if self.closing is None else 'behind'} each document"
        else:
            around = f"{named[0]} stands before each document, {named[1]} behind it"
        return around + (", and at the beginning of each further piece of a long one" if self.leads else "")


BARE: Final = DocumentFrame(None, None)
"""Of a document around which nothing stands."""


def usual_frame(tokenizer: Any) -> DocumentFrame:
    """Return what the tokenizer names: begin and end of a sequence; the end for both, as in GPT-2's family."""
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    return DocumentFrame(end if begin is None else begin, end, leads=begin is not None)


def read_frame(directory: Path) -> DocumentFrame | None:
    """Read what was found out at import; None where that was before this was asked.

    Raises:
        UnusableModel: the file is damaged.
    """
    return read_beside(directory / FRAME_FILE, DocumentFrame, "frame")


def write_frame(directory: Path, frame: DocumentFrame) -> None:
    """Keep with a model what was found out about it.

    Raises:
        OSError: the disk refused.
    """
    (directory / FRAME_FILE).write_bytes(write_json(frame, indent=2))
