"""What several files of tests share: the settings of a toy model, and cheap processes."""
import multiprocessing

from regmix.proxies import TrainConfig

CONFIG = TrainConfig(model="80K", tokens=24_000, context=32, batch=4, lr=3e-3, evals=3, eval_tokens=512)

# A server that has imported what is slow to import, and is copied for each process. It never computes anything itself.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["nbdev.test", "matplotlib.pyplot", "matplotlib_inline.backend_inline", "scipy.stats",
                                  "sklearn.linear_model", "sklearn.model_selection", "lightgbm", "distributed",
                                  "regmix.training", "regmix.laws"])
