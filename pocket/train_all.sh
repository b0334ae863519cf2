#!/usr/bin/env bash
# Trains the whole family on one GPU: pocket/train_all.sh FAMILY [VAE DIFFUSION CONTROLNET SAM], in minutes.
#
# The SAM trains beside the others: what it waits for are its pictures, which the processor draws. Every
# stage goes on where it was stopped. FAMILY/stages.log says how far it is, the other logs how it goes.
set -euo pipefail
family=$1
vae=${2:-7} diffusion=${3:-10} controlnet=${4:-3} sam=${5:-13}
cd "$(dirname "$0")/.."
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=4 PYTHONPATH="pocket:client:export:serving:${PYTHONPATH:-}"
workers=$(nproc)
mkdir -p "$family"

say() { echo "$(date +%T) $*" | tee -a "$family/stages.log"; }
train() { python3 -m packshot_pocket.train "$1" --output "$family" --device cuda "${@:2}"; }

say start
train render --for vae --workers "$workers" > "$family/render.log" 2>&1
say "rendered for the vae"
train render --workers "$((workers > 4 ? workers - 3 : 1))" >> "$family/render.log" 2>&1 &
rendering=$!
train vae --minutes "$vae" --resume > "$family/vae.log" 2>&1
say vae
wait "$rendering"
say "rendered all"
python3 -m packshot_pocket.sam.train --output "$family/sam" --device cuda --minutes "$sam" --resume \
  > "$family/sam.log" 2>&1 &
segmenting=$!
train diffusion --minutes "$diffusion" --resume > "$family/diffusion.log" 2>&1
say diffusion
train controlnet --minutes "$controlnet" --resume > "$family/controlnet.log" 2>&1
say controlnet
wait "$segmenting"
say done
