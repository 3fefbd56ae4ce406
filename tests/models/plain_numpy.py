"""A second forward pass of TRM and HRM, in NumPy float64, written from the original's description, not from recurc's code.

It shares nothing with `recurc.models.reference`: positions are handled one head at a time, the rotation pair by pair.
"""

from __future__ import annotations

import numpy as np


def silu(x):
    return x / (1.0 + np.exp(-x))


def rms(x, eps=1e-5):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)


def swiglu(x, gate_up, down):
    half = gate_up.shape[0] // 2
    return (silu(x @ gate_up[:half].T) * (x @ gate_up[half:].T)) @ down.T


def rotate(x, theta=10000.0):
    """Rotary positions on [S, head_dim]: feature i turns with feature i + head_dim / 2."""
    s, hd = x.shape
    out = np.empty_like(x)
    for i in range(hd // 2):
        angle = np.arange(s) * theta ** (-2.0 * i / hd)
        a, b = x[:, i], x[:, i + hd // 2]
        out[:, i] = a * np.cos(angle) - b * np.sin(angle)
        out[:, i + hd // 2] = b * np.cos(angle) + a * np.sin(angle)
    return out


def attention(h, qkv, o, heads, rope):
    d = h.shape[1]
    hd = d // heads
    y = h @ qkv.T
    out = np.empty_like(h)
    for head in range(heads):
        q, k, v = (y[:, j * d + head * hd : j * d + (head + 1) * hd] for j in range(3))
        if rope:
            q, k = rotate(q), rotate(k)
        scores = q @ k.T / np.sqrt(hd)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        out[:, head * hd : (head + 1) * hd] = scores / scores.sum(axis=1, keepdims=True) @ v
    return out @ o.T


class PlainTRM:
    """The model for one puzzle at a time.

    Args:
        arch: the `arch` fields of all_config.yaml.
        sd: tensors by the original's names without prefix (anything NumPy can read as float64).
        seq_len: cells.
    """

    def __init__(self, arch: dict, sd: dict, seq_len: int) -> None:
        self.a, self.seq_len = arch, seq_len
        self.w = {k: np.asarray(v.float().numpy(), dtype=np.float64) for k, v in sd.items()}

    def net(self, h, level="L"):
        for i in range(self.a[f"{level}_layers"]):
            prefix = f"{level}_level.layers.{i}."
            w = {k.removeprefix(prefix): v for k, v in self.w.items() if k.startswith(prefix)}
            if self.a.get("mlp_t"):
                t = h.T
                t = rms(t + swiglu(t, w["mlp_t.gate_up_proj.weight"], w["mlp_t.down_proj.weight"]))
                h = t.T
            else:
                qkv, o = w["self_attn.qkv_proj.weight"], w["self_attn.o_proj.weight"]
                h = rms(h + attention(h, qkv, o, self.a["num_heads"], self.a.get("pos_encodings") == "rope"))
            h = rms(h + swiglu(h, w["mlp.gate_up_proj.weight"], w["mlp.down_proj.weight"]))
        return h

    def run(self, tokens, puzzle_id, steps):
        """Yields (z_H [S, D], logits [seq_len, vocab], q [2]) after each supervision step."""
        a, w = self.a, self.w
        d, ndim = a["hidden_size"], a["puzzle_emb_ndim"]
        x = w["embed_tokens.embedding_weight"][tokens]
        rows = 0
        if ndim > 0:
            rows = a.get("puzzle_emb_len") or int(np.ceil(ndim / d))
            flat = np.zeros(rows * d)
            flat[:ndim] = w["puzzle_emb.weights"][puzzle_id]
            x = np.vstack([flat.reshape(rows, d), x])
        if a.get("pos_encodings") == "learned":
            x = 0.707106781 * (x + w["embed_pos.embedding_weight"])
        x = np.sqrt(d) * x
        z_h, z_l = np.tile(w["H_init"], (len(x), 1)), np.tile(w["L_init"], (len(x), 1))
        for _ in range(steps):
            for _ in range(a["H_cycles"]):
                for _ in range(a["L_cycles"]):
                    z_l = self.net(z_l + (z_h + x))
                z_h = self.net(z_h + z_l, "H" if a["H_layers"] else "L")
            yield z_h, (z_h @ w["lm_head.weight"].T)[rows:], z_h[0] @ w["q_head.weight"].T + w["q_head.bias"]
