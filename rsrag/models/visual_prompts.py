"""Learned tokens beside the patches of an open_clip image transformer (visual prompt tuning, Jia et al. 2022).

The tokens are weights of the network, ``visual.transformer.prompts``, and its configuration names them under
``vision_cfg.prompts``, so that a tuned network is exported and loaded as any other.
"""

from __future__ import annotations

from typing import Any

from rsrag.errors import BadModelFile

KEY = "prompts"
"""Key of ``vision_cfg``: ``{"tokens": P, "depth": L}``."""


def take(config: dict[str, Any]) -> dict[str, int] | None:
    """Remove the key that open_clip does not know from a configuration and return its value."""
    found: dict[str, int] | None = config["vision_cfg"].pop(KEY, None)
    return found


def install(network: Any, *, tokens: int, depth: int) -> Any:
    """Add ``tokens`` learned tokens to the first ``depth`` layers of the image transformer.

    A layer's tokens replace those that came out of the layer before; behind the last layer they are dropped, so the
    pooling of the network stays as it was.

    Args:
        network: an open_clip CLIP whose image tower is open_clip's own transformer.
        tokens: how many.
        depth: layers with tokens of their own, from the first; 0 means all.

    Returns:
        The new parameter, float32 [depth, tokens, width], drawn uniformly as the paper does.

    Raises:
        BadModelFile: another image tower.
    """
    import torch
    from open_clip.transformer import Transformer, VisionTransformer

    visual = network.visual
    if not isinstance(visual, VisionTransformer) or not visual.transformer.batch_first:
        raise BadModelFile("learned tokens need open_clip's own image transformer")
    transformer = visual.transformer
    layers = len(transformer.resblocks)
    depth = min(depth or layers, layers)
    # Xavier's range for a patch embedding of this size
    area = visual.patch_size[0] * visual.patch_size[1]
    limit = (6.0 / (3 * area + transformer.width)) ** 0.5
    values = torch.empty(depth, tokens, transformer.width).uniform_(-limit, limit)
    transformer.prompts = torch.nn.Parameter(values)

    class Prompted(Transformer):  # type: ignore[misc]
        """The same layers with learned tokens between the class token and the patches."""

        def forward(self, x: Any, attn_mask: Any = None) -> Any:
            count = self.prompts.shape[1]
            for number, block in enumerate(self.resblocks):
                if number < len(self.prompts):
                    learned = self.prompts[number].to(x.dtype).expand(x.shape[0], -1, -1)
                    x = torch.cat([x[:, :1], learned, x[:, (1 + count if number else 1) :]], dim=1)
                if self.grad_checkpointing and self.training:
                    x = torch.utils.checkpoint.checkpoint(block, x, None, None, attn_mask, use_reentrant=False)
                else:
                    x = block(x, attn_mask=attn_mask)
            return torch.cat([x[:, :1], x[:, 1 + count :]], dim=1)

    transformer.__class__ = Prompted
    return transformer.prompts
