package org.eellm.checkpoint.huggingface;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Optional;
import org.eellm.gguf.GgufRows;
import org.eellm.kernel.weight.DecodedRows;
import org.eellm.kernel.weight.GroupLayout;

/** A quantised matrix of a GGUF file, to be packed straight from the file. */
public record GgufMatrix(GgufRows stored) implements DecodedRows.Source {
  @Override
  public int rows() {
    return stored.rows();
  }

  @Override
  public int columns() {
    return stored.columns();
  }

  @Override
  public void read(int row, float[] to) {
    stored.read(row, to);
  }

  @Override
  public Optional<GroupLayout> layout() {
    return switch (stored.type()) {
      case Q8_0 -> Optional.of(GroupLayout.BYTES);
      case Q4_0 -> Optional.of(GroupLayout.HALVES);
      case F32, F16, BF16, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K -> Optional.empty();
    };
  }

  @Override
  public void readGroups(int row, byte[] to) {
    MemorySegment groups = stored.row(row);
    int count = Math.toIntExact(groups.byteSize());
    MemorySegment.copy(groups, ValueLayout.JAVA_BYTE, 0, to, 0, count);
  }
}
