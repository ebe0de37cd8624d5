package org.eellm.decode;

import static java.util.stream.Collectors.toMap;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.ModelConfig;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.IndexedListener;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener;
import org.eellm.kernel.machine.Threads;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.weight.StoredRows;
import org.eellm.kernel.weight.WeightRows;
import org.eellm.model.StoredDecoder;
import org.eellm.model.parameter.ParameterSpec;

/**
 * Decodes with a tiny model, so that Java has loaded and compiled what decodes before a real model
 * does. A program calls it on a thread of its own while it starts and reads that model.
 */
public final class WarmUp {
  /** Java gives a method to its compiler after 256 calls; most have several a step. */
  private static final int STEPS_AT_ONCE = 100;

  /**
   * The others only keep these methods in the compiler's queue, which drops what is not called for
   * 50 ms, and leave it the core.
   */
  private static final int STEPS = 1000;

  private static final long PAUSE = 1_000_000; // ns, after each of the others

  private static final ModelConfig SHAPE =
      ModelConfig.builder()
          .vocabSize(128)
          .hiddenSize(128)
          .numLayers(2)
          .numHeads(2)
          .numKeyValueHeads(1)
          .headDim(64)
          .ffnHiddenSize(256)
          .maxPositions(1024)
          .dtype(DataType.BFLOAT16)
          .build();

  private WarmUp() {}

  /**
   * Decodes on the calling thread alone, for a second or two at most. Does nothing where decoding
   * is not by machine code: Java's kernels need the second compiler, which takes longer.
   *
   * @param goesOn asked before each step
   */
  public static void run(BooleanSupplier goesOn) {
    JsonFiles.prepare();
    if (!RowKernel.isMachineCode()) {
      return;
    }
    int threads = Threads.count();
    Threads.set(1);
    try (StoredDecoder model = model()) {
      KernelRunner.pack(model);
      Request request =
          new Request(List.of(0), STEPS, Set.of(), DecodingMethod.full(), Sampler.greedy());
      try (Batch batch = new Batch(model, Limits.of(model))) {
        batch.add(batch.job(request, "warm-up", new IndexedListener(0, TokenListener.none())));
        for (int step = 1; !batch.isIdle() && goesOn.getAsBoolean(); step++) {
          batch.step();
          if (step > STEPS_AT_ONCE) {
            LockSupport.parkNanos(PAUSE);
          }
        }
      }
    } finally {
      Threads.set(threads);
    }
  }

  /** All of its weights are zeros, which lie in the same place. */
  private static StoredDecoder model() {
    StoredDecoder.Part part =
        StoredDecoder.Part.whole(
            new Architecture(SHAPE, ExitLayout.none()), MatrixQuantization.NONE);
    List<ParameterSpec> parameters = part.parameterGroups().stream().flatMap(List::stream).toList();
    long most = parameters.stream().mapToLong(ParameterSpec::numel).max().orElseThrow();
    NativeBuffer zeros = NativeBuffer.allocate(most * Float.BYTES);
    Map<String, WeightRows> weights =
        parameters.stream().collect(toMap(ParameterSpec::name, spec -> rows(spec, zeros)));
    return new StoredDecoder(part, weights, List.of(), zeros::close);
  }

  private static WeightRows rows(ParameterSpec parameter, NativeBuffer zeros) {
    int width = parameter.shape().getLast().intValue();
    int rows = (int) (parameter.numel() / width);
    return StoredRows.of(StoredRows.Type.FLOAT32, zeros.address(), rows, width);
  }
}
