"""Arrays of the size of a part of the logits, made once for all parts of a pass."""

import torch
from torch import Tensor


class Workspace:
    """Holds float32 arrays that part after part of the logits is computed in.

    Made anew for each part they would cost more than themselves: between them an allocator places what is small, and
    where that lies the next large array does not fit any more.

    Args:
        places: of the largest part.
        vocabulary: logits at each place.
        device: where the arrays lie.
    """

    def __init__(self, places: int, vocabulary: int, device: torch.device) -> None:
        self._shape, self._device = (places, vocabulary), device
        self._arrays: dict[int, Tensor] = {}

    def array(self, number: int, places: int) -> Tensor:
        """Return the first places of an array, with whatever was last computed in it; shape (places, vocabulary).

        Args:
            number: which array; it is made when it is first asked for.
            places: at most those of the largest part.
        """
        if number not in self._arrays:
            self._arrays[number] = torch.empty(self._shape, dtype=torch.float32, device=self._device)
        return self._arrays[number][:places]
