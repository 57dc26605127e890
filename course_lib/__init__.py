"""The building blocks of "The Vision Transformer, piece by piece".

Each module holds one concept and can be read in one sitting. The chapters derive what stands here;
the tests hold it to the libraries, to 1e-12 in float64.

Legend, used everywhere: B batch, N tokens, D embedding dimension, H heads, d = D/H head dimension,
P patch size, L depth, (gh, gw) patch grid.
"""

__version__ = "0.4.0"
