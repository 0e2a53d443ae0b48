"""A training step of 784-512-512-10 with Adam in PyTorch, alone or with DistributedDataParallel over gloo.

Prints the median step in milliseconds on rank 0. One compute thread a rank. Started by benchmarks/step.sh, which also preloads
jemalloc without decay: without it PyTorch returns memory to the system at every step and takes up to three times as long.
"""
import os
import statistics
import sys
import time

import torch

torch.set_num_threads(1)
batch, steps = int(sys.argv[1]), int(sys.argv[2])
rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
torch.manual_seed(1)
model = torch.nn.Sequential(torch.nn.Linear(784, 512), torch.nn.ReLU(), torch.nn.Linear(512, 512), torch.nn.ReLU(),
                            torch.nn.Linear(512, 10))
if size > 1:
    torch.distributed.init_process_group("gloo")
    model = torch.nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, foreach=True)
loss_function = torch.nn.CrossEntropyLoss()
batches = [(torch.rand(batch, 784), torch.randint(0, 10, (batch,))) for _ in range(8)]
times = []
for step in range(steps + 30):
    x, y = batches[step % 8]
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=size == 1)
    loss = loss_function(model(x), y)
    loss.backward()
    optimizer.step()
    if step >= 30:
        times.append(time.perf_counter() - start)
if rank == 0:
    print(f"{statistics.median(times) * 1e3:.3f}")
if size > 1:
    torch.distributed.destroy_process_group()
