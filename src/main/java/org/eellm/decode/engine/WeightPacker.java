package org.eellm.decode.engine;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.kernel.NativeBuffer;
import org.eellm.kernel.PackedMatrix;
import org.eellm.kernel.ThreadTeam;
import org.eellm.kernel.WeightFormat;
import org.eellm.model.Weight;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * Lays out a model's matrices one after another in one buffer, in the order a pass reads them, and
 * packs them on all threads. First {@link #plan} what is wanted, then {@link #pack}.
 *
 * <p>Whole blocks are transposed by libtorch: in a process that has just started, Java code would
 * be interpreted for a good part of this work.
 */
final class WeightPacker {
  private static final int BLOCK = PackedMatrix.BLOCK;

  private final Map<String, Plan> plans = new HashMap<>(); // by the weight's name
  private final List<Plan> ordered = new ArrayList<>();
  private long bytes;

  /** A matrix to be packed, and where. */
  final class Plan {
    private final Weight weight;
    private final int parts; // of the source, whose blocks take turns
    private final int[] firstRows; // in the source, by block
    private final int[] rows; // of the source, by block
    private final int out;
    private final long source; // address
    private final long offset;

    private Plan(Weight weight, int parts, int[] firstRows, int[] rows, int out) {
      this.weight = weight;
      this.parts = parts;
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

    /**
     * Packs the blocks that are whole.
     *
     * @return how many; the others follow them
     */
    private int packWhole(PackedMatrix matrix) {
      long rows = weight.value().size(0) / parts;
      long whole = rows / BLOCK;
      long steps = matrix.steps();
      if (inputs() % format().inputsTogether() != 0 || whole == 0) {
        return 0;
      }
      long partBytes = rows * inputs() * format().bytes();
      try (Scope _ = Scope.open()) {
        Tensor to = groups(matrix.address(), matrix.blocks() / parts, parts, steps, BLOCK);
        for (int part = 0; part < parts; part++) {
          Tensor from = groups(source + part * partBytes, whole, BLOCK, steps);
          to.select(1, part).narrow(0, 0, whole).copy_(from.transpose(1, 2));
        }
      }
      return Math.toIntExact(whole * parts);
    }

    /** Groups of inputs, each of which takes 32 bits. */
    private static Tensor groups(long address, long... shape) {
      long count = Arrays.stream(shape).reduce(1, Math::multiplyExact);
      MemorySegment memory = MemorySegment.ofAddress(address).reinterpret(4 * count);
      return Tensors.view(memory, ScalarType.Int, shape);
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
          return new Plan(weight, 1, first, rows, out);
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
    return new Plan(weight, 2, first, rows, first.length * BLOCK);
  }

  /**
   * Packs everything.
   *
   * @param done is told of each matrix when it has been packed
   */
  NativeBuffer pack(ThreadTeam team, Consumer<Weight> done) {
    NativeBuffer memory = NativeBuffer.allocate(bytes);
    for (Plan plan : ordered) {
      PackedMatrix matrix = plan.in(memory);
      int whole = plan.packWhole(matrix);
      team.run(
          member -> {
            member.begin(matrix.blocks() - whole);
            for (int item = member.next(); item >= 0; item = member.next()) {
              plan.pack(matrix, whole + item);
            }
            member.end();
          });
      done.accept(plan.weight);
    }
    return memory;
  }
}
