#!/usr/bin/env bash
# Loads the CUDA build on a machine without a GPU. For each library that it takes from the machine
# this makes a stub, with the functions that its own libraries ask for. Then libtorch's GPU build
# loads, the CPU computes with it, and eellm says why no GPU does.
#
#   deploy/test/cuda-load.sh
#
# Needs gcc, binutils and unzip, and 850 MB of jars, which the first build fetches. It says nothing
# of what a GPU does.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
eellm=${EELLM:-$root/eellm}
export EELLM_PROFILE=cuda LD_LIBRARY_PATH=
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/natives" "$work/stubs" "$work/old-driver"
"$eellm" --version >&2 # Builds now, if at all.
classpath=$(cat "$root/target/classpath-cuda.txt")

# Makes a library of functions that fail as the driver does without a GPU.
stub() { # LIBRARY SYMBOLS FOLDER
  echo "$1 { *; };" >"$work/versions" # its own version, which NVIDIA's symbols have
  grep -E "$2" "$work/symbols" | sed -E 's/@.*//; s/.*/int &(void) { return 100; }/' |
    gcc -shared -fPIC -w -fno-builtin -Wl,-soname,"$1" -Wl,--version-script,"$work/versions" \
      -x c -o "$3/$1" -
  echo "$1: $(nm -D --defined-only "$3/$1" | grep -c ' T ') functions"
}

# Runs a command, tells what it says, and fails unless that contains a text.
expect() { # TEXT COMMAND...
  local text=$1 told
  shift
  told=$("$@" 2>&1) || true
  echo "$told"
  [[ $told == *"$text"* ]] || {
    echo "no '$text' in what $* says" >&2
    exit 1
  }
}

echo "== nothing installed"
expect 'libcuda.so.1, libcublas.so.13' "$eellm" doctor

echo "== stubs"
tr : '\n' <<<"$classpath" | grep -E '/(pytorch|cuda)-[0-9][^/]*-x86_64(-gpu)?\.jar$' |
  while read -r jar; do unzip -qqoj "$jar" '*.so' -d "$work/natives"; done
nm -D --undefined-only "$work"/natives/*.so | awk 'NF == 2 { print $2 }' | sort -u >"$work/symbols"
for library in libcublas.so.13 libcublasLt.so.13 libcusolver.so.12 libcusolverMg.so.12 \
  libcusparse.so.12 libcudnn.so.9 libcudnn_graph.so.9 libcudnn_ops.so.9 libcudnn_cnn.so.9 \
  libcudnn_adv.so.9; do
  stub "$library" "@$library\$" "$work/stubs"
done
stub libnccl.so.2 '^p?nccl[^@]*$' "$work/stubs"
stub libcuda.so.1 '^cu[A-Z][^@]*$' "$work/stubs"
# Gradients of bfloat16 products add up in float32, which older versions refused.
grep -q 'self dtype must match either out_dtype or mat1 dtype' "$work/natives/libtorch_cuda.so"
rm -r "$work/natives"
export LD_LIBRARY_PATH=$work/stubs

echo "== libraries"
cat >"$work/Load.java" <<'JAVA'
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.Dispatcher;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.cuda.CUDAAllocator;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch_cuda;
import org.eellm.tensor.Torch;

class Load {
  public static void main(String[] args) throws Exception {
    Torch.load();
    for (String library : new String[] {"torch", "torch_cuda", "torch_nccl"}) {
      Loader.load(Class.forName("org.bytedeco.pytorch.global." + library));
      System.out.println(library + " is loaded");
    }
    for (String operator : // that eellm calls on GPUs alone, or relies on there
        new String[] {
          "mm.dtype_out",
          "addmm.dtype_out",
          "_fused_rms_norm.",
          "_fused_rms_norm_backward.",
          "_scaled_dot_product_flash_attention.",
          "_scaled_dot_product_efficient_attention."
        }) {
      String[] name = operator.split("\\.", 2);
      if (!Dispatcher.singleton()
          .findSchemaOrThrow("aten::" + name[0], name[1])
          .hasKernelForDispatchKey(torch.DispatchKey.CUDA)) {
        throw new IllegalStateException(operator + " has no kernel for GPUs");
      }
    }
    CUDAAllocator allocator = torch_cuda.getAllocator();
    allocator.init(0); // GPUs
    System.out.println(
        "expandable segments: " + allocator.snapshot().config_metadata().expandable_segments());
    Tensor ones = torch.ones(64, 64);
    System.out.println("on the CPU: " + torch.mm(ones, ones).sum().item_double());
  }
}
JAVA
jdk=$(cat "$root/target/built-cuda")
expect $'expandable segments: true\non the CPU: 262144' "$jdk/bin/java" \
  --add-modules jdk.incubator.vector --enable-native-access=ALL-UNNAMED \
  --sun-misc-unsafe-memory-access=allow -Dorg.bytedeco.openblas.load=mkl_rt \
  -cp "$root/target/eellm-cuda.jar:$classpath" "$work/Load.java"

echo "== doctor"
expect 'GPU        none' "$eellm" doctor

echo "== training"
for i in $(seq 500); do echo "$i times 3 is $((i * 3)), and $i plus 7 is $((i + 7))."; done \
  >"$work/sums.txt"
"$eellm" prepare --input "$work/sums.txt" --output "$work/sums" --tokenizer train \
  --vocab-size 300 >"$work/log" 2>&1
cat >"$work/run.yaml" <<CONFIGURATION
model: {hidden_size: 16, num_layers: 2, num_heads: 2, max_positions: 16}
exits: {layers: [1], weights: [0.25]}
data: {sources: [$work/sums], tokenizer: $work/sums-tokenizer, sequence_length: 16, split: [90, 10, 0]}
train: {steps: 3, micro_batch_size: 2, global_batch_size: 4}
optimizer: {learning_rate: 3e-3, warmup_steps: 1}
CONFIGURATION
expect 'all 3 steps are done' "$eellm" train --config "$work/run.yaml" --output "$work/run"
expect 'the driver shows this process no GPU' \
  "$eellm" train --config "$work/run.yaml" --output "$work/run-cuda" --set train.device=cuda

echo "== a driver for CUDA 12.4"
gcc -shared -fPIC -Wl,-soname,libcuda.so.1 -x c -o "$work/old-driver/libcuda.so.1" - <<'C'
int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
C
LD_LIBRARY_PATH=$work/old-driver:$work/stubs expect 'can do CUDA 12.4 at most' "$eellm" doctor
