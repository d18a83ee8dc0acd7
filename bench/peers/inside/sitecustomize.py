"""As many ONNX Runtime threads as cores, in peers that have no setting for it.

By default it starts a thread for each core of the machine and pins each to its own, also to cores
that the process was not given. `$ORT_THREADS` is the number that a peer's user would want.
"""

import os

if threads := os.environ.get("ORT_THREADS"):
    import onnxruntime

    class InferenceSession(onnxruntime.InferenceSession):
        def __init__(self, model, sess_options=None, *arguments, **named):
            options = sess_options or onnxruntime.SessionOptions()
            if options.intra_op_num_threads == 0:
                options.intra_op_num_threads = int(threads)
            super().__init__(model, options, *arguments, **named)

    onnxruntime.InferenceSession = InferenceSession
