package org.eellm.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.model.Decoder;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * Tells trunks apart: SHA-256 over name, shape and the first and last values of every parameter but
 * the exits', rounded to bfloat16. So it reads two pages a tensor, and a copy in another number
 * format is the same trunk. One step of training changes it.
 */
final class TrunkChecksum {
  /** Values taken from each end of a parameter. */
  private static final long VALUES = 1024;

  private TrunkChecksum() {}

  /** The checksum of the trunk among a folder's weights, which have all of its parameters. */
  static String of(WeightFiles weights, ModelConfig model) {
    MessageDigest digest = Checksums.start();
    Decoder.parameterNames(new Architecture(model, ExitLayout.none())).stream()
        .sorted()
        .forEach(name -> add(digest, name, weights.tensor(name)));
    return Checksums.end(digest);
  }

  private static void add(MessageDigest digest, String name, StoredTensor stored) {
    digest.update((name + stored.shape()).getBytes(StandardCharsets.UTF_8));
    long width = stored.type().bits() / 8;
    long size = stored.bytes().byteSize();
    long sample = Math.min(size, VALUES * width);
    addRounded(digest, name, stored, stored.bytes().asSlice(0, sample));
    addRounded(digest, name, stored, stored.bytes().asSlice(size - sample, sample));
  }

  private static void addRounded(
      MessageDigest digest, String name, StoredTensor stored, MemorySegment bytes) {
    ScalarType type =
        ModelTensor.scalarType(stored.type())
            .orElseThrow(
                () ->
                    new CheckpointException(
                        "tensor %s is %s; weights must be F64, F32, F16 or BF16"
                            .formatted(name, stored.type())));
    try (Scope _ = Scope.open();
        Arena arena = Arena.ofConfined()) {
      MemorySegment aligned = arena.allocate(bytes.byteSize(), Long.BYTES).copyFrom(bytes);
      Tensor values = Tensors.view(aligned, type, bytes.byteSize() * 8 / stored.type().bits());
      Checksums.add(digest, Tensors.bytes(values.to(ScalarType.BFloat16)));
    }
  }
}
