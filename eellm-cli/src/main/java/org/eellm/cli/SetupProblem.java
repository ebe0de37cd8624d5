package org.eellm.cli;

import java.util.ArrayList;
import java.util.List;
import org.eellm.cli.option.Machine;

/**
 * Something that makes a machine slow or a run fail, and what to do about it. The figures were
 * measured; see docs/reports/performance.md.
 */
record SetupProblem(String problem, String remedy) {
  private static final long GIB = 1L << 30;

  /** The traps that a machine is in. */
  static List<SetupProblem> of(Machine machine) {
    List<SetupProblem> traps = new ArrayList<>();
    machine.libtorch().ifPresent(libtorch -> add(traps, machine, libtorch));
    if (machine.isX86() && machine.isLinux() && !machine.cpuFeatures().contains("avx2")) {
      traps.add(
          new SetupProblem(
              "the processor has no AVX2: arithmetic takes many times as long",
              "use another machine for anything but a try"));
    }
    if (machine.isLinux() && !machine.unsetMalloc().isEmpty()) {
      traps.add(
          new SetupProblem(
              String.join(", ", machine.unsetMalloc())
                  + " not set: a fifth of a training step goes into page faults",
              "start with ./eellm, which sets them"));
    }
    if (machine.diskFreeBytes() < 5 * GIB) {
      traps.add(
          new SetupProblem(
              "%.1f GiB left on the disk of this folder"
                  .formatted((double) machine.diskFreeBytes() / GIB),
              "make room; a checkpoint to resume from takes over ten bytes a parameter"));
    }
    if (machine.memoryAvailableBytes().orElse(Long.MAX_VALUE) < 2 * GIB) {
      traps.add(
          new SetupProblem(
              "less than 2 GiB of memory are free",
              "end other programs, or train a smaller model"));
    }
    return traps;
  }

  private static void add(List<SetupProblem> traps, Machine machine, Machine.Libtorch libtorch) {
    if (machine.isLinux() && machine.isX86() && !libtorch.blas().equals("Intel MKL")) {
      traps.add(
          new SetupProblem(
              libtorch.blas()
                  + " runs the matrix products; float32 trains three times as fast on MKL",
              "start with ./eellm, or give Java -Dorg.bytedeco.openblas.load=mkl_rt"));
    }
    if (libtorch.threads() < machine.cores()) {
      traps.add(
          new SetupProblem(
              "libtorch uses " + libtorch.threads() + " threads of " + machine.cores() + " cores",
              "unset OMP_NUM_THREADS and MKL_NUM_THREADS, or set train.threads"));
    }
    if (libtorch.memoryWatchdog()) {
      traps.add(
          new SetupProblem(
              "JavaCPP limits native memory and may report a shortage where there is none",
              "start with ./eellm, or give Java -Dorg.bytedeco.javacpp.maxphysicalbytes=0"
                  + " -Dorg.bytedeco.javacpp.maxbytes=0"));
    }
    if (libtorch.cpu().bfloat16() < libtorch.cpu().float32()) {
      traps.add(
          new SetupProblem(
              "libtorch's products of bfloat16 are slower than those of float32 on this processor",
              "train with model.dtype float32 here"));
    }
    if (machine.nvidiaDriver() && libtorch.cudaDevices() == 0) {
      traps.add(
          new SetupProblem(
              "an NVIDIA driver runs here, but libtorch can use no GPU",
              "start with EELLM_PROFILE=cuda ./eellm; if you did, look at nvidia-smi and"
                  + " CUDA_VISIBLE_DEVICES"));
    }
  }
}
