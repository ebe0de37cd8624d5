package org.eellm.decode.engine;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.kernel.NativeBuffer;
import org.eellm.kernel.PackedMatrix;
import org.eellm.kernel.ThreadTeam;
import org.eellm.kernel.WeightFormat;
import org.eellm.model.Weight;

/**
 * Lays out a model's matrices one after another in one buffer, in the order a pass reads them, and
 * packs them on all threads. First {@link #plan} what is wanted, then {@link #pack}.
 */
final class WeightPacker {
  private static final int BLOCK = PackedMatrix.BLOCK;

  private final Map<String, Plan> plans = new HashMap<>(); // by the weight's name
  private final List<Plan> ordered = new ArrayList<>();
  private long bytes;

  /** A matrix to be packed, and where. */
  final class Plan {
    private final Weight weight;
    private final int[] firstRows; // in the source, by block
    private final int[] rows; // of the source, by block
    private final int out;
    private final long source; // address
    private final long offset;

    private Plan(Weight weight, int[] firstRows, int[] rows, int out) {
      this.weight = weight;
      this.firstRows = firstRows;
      this.rows = rows;
      this.out = out;
      source = weight.value().data_ptr().address();
      offset = bytes;
      bytes += PackedMatrix.bytes(format(), firstRows.length * BLOCK, inputs());
      ordered.add(this);
    }

    private WeightFormat format() {
      return WeightReader.format(weight.value());
    }

    private int inputs() {
      return Math.toIntExact(weight.value().size(1));
    }

    /**
     * The matrix.
     *
     * @param memory what {@link #pack} fills
     */
    PackedMatrix in(NativeBuffer memory) {
      Optional<float[]> scales = weight.scales().map(WeightReader::floats).map(this::byOutput);
      return new PackedMatrix(format(), out, inputs(), memory.address() + offset, scales);
    }

    private float[] byOutput(float[] scales) {
      float[] ordered = new float[firstRows.length * BLOCK];
      for (int block = 0; block < firstRows.length; block++) {
        System.arraycopy(scales, firstRows[block], ordered, block * BLOCK, rows[block]);
      }
      return ordered;
    }

    private void pack(PackedMatrix matrix, int block) {
      long row = (long) inputs() * format().bytes();
      matrix.pack(block, source + firstRows[block] * row, rows[block]);
    }
  }

  /** Plans a matrix as it is, once however often it is asked for. */
  Plan plan(Weight weight) {
    return plans.computeIfAbsent(
        weight.name(),
        name -> {
          int out = Math.toIntExact(weight.value().size(0));
          int[] first = new int[Math.ceilDiv(out, BLOCK)];
          int[] rows = new int[first.length];
          Arrays.setAll(first, block -> block * BLOCK);
          Arrays.setAll(rows, block -> Math.min(BLOCK, out - first[block]));
          return new Plan(weight, first, rows, out);
        });
  }

  /**
   * Plans a matrix whose second half goes with its first, as gate and up: a block of the one, then
   * a block of the other.
   */
  Plan planHalves(Weight weight) {
    int half = Math.toIntExact(weight.value().size(0) / 2);
    int[] first = new int[2 * Math.ceilDiv(half, BLOCK)];
    int[] rows = new int[first.length];
    Arrays.setAll(first, block -> block / 2 * BLOCK + block % 2 * half);
    Arrays.setAll(rows, block -> Math.min(BLOCK, half - block / 2 * BLOCK));
    return new Plan(weight, first, rows, first.length * BLOCK);
  }

  /** Packs everything. */
  NativeBuffer pack(ThreadTeam team) {
    NativeBuffer memory = NativeBuffer.allocate(bytes);
    int[] ends = new int[ordered.size()]; // blocks up to the end of each plan
    int count = 0;
    for (int i = 0; i < ends.length; i++) {
      count += ordered.get(i).firstRows.length;
      ends[i] = count;
    }
    int blocks = count;
    List<PackedMatrix> matrices = ordered.stream().map(plan -> plan.in(memory)).toList();
    team.run(
        member -> {
          member.begin(blocks);
          for (int item = member.next(); item >= 0; item = member.next()) {
            int found = Arrays.binarySearch(ends, item + 1);
            int index = found >= 0 ? found : -found - 1;
            Plan plan = ordered.get(index);
            int block = item - ends[index] + plan.firstRows.length;
            plan.pack(matrices.get(index), block);
          }
          member.end();
        });
    return memory;
  }
}
