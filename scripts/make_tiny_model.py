"""Make the small model pair (target and draft) that the CPU profiles run on.

`--acceptance` dials the share of draft tokens that the target accepts (3 per step, greedy
decoding). Checked on vLLM 0.32.0 on the CPU: dialled 0.30, 0.60, 0.85; measured 0.29, 0.61,
0.85. runners/models/tiny.py says how the dial works.
"""

import _environment  # noqa: F401

from runners.models.command import main

if __name__ == "__main__":
    main()
