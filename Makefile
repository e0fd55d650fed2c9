# The targets people expect. The work is done by the scripts under deploy/.

.PHONY: help setup demo test test-full cuda check simulate chaos build bench-data bench-step bench-recovery bench-checkpoint bench-coordinator bench-failover results static rehearse clean

help: ## Show this list.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: ## Fetch what the other targets need (libtorch, Fashion-MNIST, tools); safe to repeat.
	@deploy/setup/setup.sh

demo: setup ## Train SCE on Fashion-MNIST on two ranks, to the end.
	@deploy/demo.sh

test: setup ## Format, lints, docs, dependencies and all hermetic tests.
	@deploy/test.sh

test-full: setup ## What needs more time or servers, and the CUDA build.
	@deploy/test_full.sh

cuda: setup ## The feature `cuda`: compiled, linked to the real NCCL, and run up to "no GPUs found".
	@deploy/cuda.sh

check: setup ## Format, lints, docs and dependencies only.
	@deploy/check.sh

simulate: setup ## Random faults in simulated time: SEEDS=1000 of them, or SEED=7 again, with all that happened.
	@KINDRED_SIMULATE_SEEDS=$(or $(SEEDS),1000) KINDRED_SIMULATE_SEED=$(SEED) deploy/simulate.sh

chaos: setup ## Random faults on a live cluster: FAULTS=20 of them, chosen by SEED; the job ends with the same bits.
	@KINDRED_CHAOS_FAULTS=$(or $(FAULTS),20) KINDRED_CHAOS_SEED=$(or $(SEED),1) deploy/chaos.sh

build: setup ## The programs, optimised, in target/release.
	cargo build --release --workspace --bins

bench-data: setup ## Images to views beside torchvision, OpenCV and DALI, one core each, in turns.
	@deploy/bench/data.sh

bench-step: setup ## A training step beside PyTorch's, in turns.
	@deploy/bench/step.sh

bench-recovery: setup ## What the loss of a rank costs, by phase, and how long a checkpoint holds training up.
	@deploy/bench/recovery.sh

bench-checkpoint: setup ## How long a checkpoint holds training up, beside a synchronous one, in turns.
	@deploy/bench/checkpoint.sh

bench-coordinator: setup ## CreateJob beside one sync per job; 10,000 agents with 80,000 devices; renewals beside torchft's lighthouse.
	@deploy/bench/coordinator.sh
	@deploy/bench/scheduling.sh
	@deploy/bench/agents.sh
	@deploy/bench/lighthouse.sh

bench-failover: setup ## The leader of two coordinators is killed FAILOVERS=50 times under load; needs PostgreSQL.
	@KINDRED_FAILOVERS=$(or $(FAILOVERS),50) deploy/bench/failover.sh

results: setup ## Run what the results page lacks (hours), and write the page.
	@deploy/results/results.sh

static: ## `kindred`, `kindred-coordinator` and `kindred-worker` without shared libraries, for any Linux.
	@deploy/static.sh

rehearse: ## What the images' Dockerfile says, in clean root file systems, up to a finished job; as root, half an hour.
	@deploy/images/rehearse.sh

clean: ## Remove what was built; downloads stay.
	cargo clean
