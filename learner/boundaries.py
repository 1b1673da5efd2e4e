"""Does a model keep packed documents apart? Asked of the model itself, not of a list of architectures."""

from typing import Any

import torch

PROBE_TOKENS = 8
TOLERANCE = 1e-3


@torch.no_grad()
def keeps_documents_apart(model: Any) -> bool:
    """Tell whether a second document in a row gets the logits that it would get alone.

    It holds where the model makes its attention mask from positions that restart, which most of transformers'
    causal LMs do; not for recurrent models, nor where positions are counted by the model itself.

    Args:
        model: a causal LM in eval mode.
    """
    device = model.device
    vocabulary = model.get_input_embeddings().weight.shape[0]
    probe = torch.arange(2 * PROBE_TOKENS, device=device).mul(7919).remainder(vocabulary)
    first, second = probe[:PROBE_TOKENS], probe[PROBE_TOKENS:]
    positions = torch.arange(PROBE_TOKENS, device=device)
    together = torch.cat([first, second])[None]
    try:
        packed = model(input_ids=together, position_ids=positions.repeat(2)[None], use_cache=False).logits[
            0, PROBE_TOKENS:
        ]
        alone = model(input_ids=second[None], position_ids=positions[None], use_cache=False).logits[0]
    except TypeError:  # a model that takes no positions counts them itself
        return False
    return bool((packed - alone).abs().max() <= TOLERANCE * alone.abs().max())
