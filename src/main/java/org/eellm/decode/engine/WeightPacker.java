package org.eellm.decode.engine;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.stream.Stream;
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
 * Lays out a model's matrices, and packs them on all threads: where they are, if that is allowed
 * and they consist of whole blocks, else one after another in a buffer. Memory that a process has
 * not had before can take longer to get than to fill, above all in a virtual machine. First {@link
 * #plan} what is wanted, then {@link #pack}.
 *
 * <p>Whole blocks are transposed by libtorch: in a process that has just started, Java code would
 * be interpreted for a good part of this work.
 */
final class WeightPacker {
  private static final int BLOCK = PackedMatrix.BLOCK;
  private static final int ALIGNMENT = 64;
  private static final long SCRATCH_BYTES = 1L << 20; // packed in place at once, if it can be less

  private final Predicate<Weight> overwritten;
  private final Map<String, Plan> plans = new HashMap<>(); // by the weight's name
  private final List<Plan> ordered = new ArrayList<>();
  private long bytes; // beside matrices that are packed in place

  /** Memory of matrices. */
  record Region(long address, long bytes) {
    private long end() {
      return address + bytes;
    }
  }

  /**
   * A packer.
   *
   * @param overwritten the weights whose memory may be used
   */
  WeightPacker(Predicate<Weight> overwritten) {
    this.overwritten = overwritten;
  }

  /** A matrix to be packed, and where. */
  final class Plan {
    private final Weight weight;
    private final int parts; // of the source, whose blocks take turns
    private final int[] firstRows; // in the source, by block
    private final int[] rows; // of the source, by block
    private final int out;
    private final long source; // address
    private final boolean inPlace;
    private final long offset; // in the buffer, else

    private Plan(Weight weight, int parts, int[] firstRows, int[] rows, int out) {
      this.weight = weight;
      this.parts = parts;
      this.firstRows = firstRows;
      this.rows = rows;
      this.out = out;
      source = weight.value().data_ptr().address();
      inPlace =
          overwritten.test(weight)
              && wholeBlocks() * parts == firstRows.length
              && source % ALIGNMENT == 0;
      offset = bytes;
      bytes += inPlace ? 0 : packedBytes();
      ordered.add(this);
    }

    private long packedBytes() {
      return PackedMatrix.bytes(format(), firstRows.length * BLOCK, inputs());
    }

    /** Blocks of a part that are whole. */
    private long wholeBlocks() {
      return inputs() % format().inputsTogether() == 0 ? weight.value().size(0) / parts / BLOCK : 0;
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
      long address = inPlace ? source : memory.address() + offset;
      return new PackedMatrix(format(), out, inputs(), address, scales);
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
      long whole = wholeBlocks();
      long partBytes = weight.value().nbytes() / parts;
      for (int part = 0; part < parts && whole > 0; part++) {
        transpose(source + part * partBytes, matrix.address(), part, whole);
      }
      return Math.toIntExact(whole * parts);
    }

    /** Packs a matrix of whole blocks where it is. */
    private void packInPlace(NativeBuffer scratch) {
      long blockBytes = packedBytes() / firstRows.length;
      long each = scratchBytes() / parts / blockBytes; // blocks of a part
      long all = wholeBlocks();
      for (long first = 0; first < all; first += each) {
        long count = Math.min(each, all - first);
        long at = source + first * blockBytes;
        MemorySegment.copy(
            memory(at, count * parts * blockBytes),
            0,
            memory(scratch),
            0,
            count * parts * blockBytes);
        for (int part = 0; part < parts; part++) {
          transpose(scratch.address() + part * count * blockBytes, at, part, count);
        }
      }
    }

    /** What packing in place takes beside; a matrix whose parts take turns is moved as a whole. */
    private long scratchBytes() {
      long blockBytes = packedBytes() / firstRows.length;
      return parts > 1
          ? packedBytes()
          : Math.min(firstRows.length, Math.max(1, SCRATCH_BYTES / blockBytes)) * blockBytes;
    }

    /** Writes a part's rows as blocks, which take turns with those of the other parts. */
    private void transpose(long from, long to, int part, long blocks) {
      long steps = inputs() / format().inputsTogether();
      try (Scope _ = Scope.open()) {
        groups(to, blocks, parts, steps, BLOCK)
            .select(1, part)
            .copy_(groups(from, blocks, BLOCK, steps).transpose(1, 2));
      }
    }

    /** Groups of inputs, each of which takes 32 bits. */
    private static Tensor groups(long address, long... shape) {
      long count = Arrays.stream(shape).reduce(1, Math::multiplyExact);
      return Tensors.view(memory(address, 4 * count), ScalarType.Int, shape);
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

  private static MemorySegment memory(NativeBuffer buffer) {
    return memory(buffer.address(), buffer.bytes());
  }

  private static MemorySegment memory(long address, long bytes) {
    return MemorySegment.ofAddress(address).reinterpret(bytes);
  }

  /**
   * Packs everything. The memory of a matrix that may be overwritten but is packed elsewhere goes
   * back to the system at once.
   *
   * @return what is not packed in place
   */
  NativeBuffer pack(ThreadTeam team) {
    NativeBuffer memory = NativeBuffer.allocate(bytes);
    long most = inPlace().mapToLong(Plan::scratchBytes).max().orElse(0);
    try (NativeBuffer scratch = NativeBuffer.allocate(most)) {
      for (Plan plan : ordered) {
        if (plan.inPlace) {
          plan.packInPlace(scratch);
        } else {
          pack(plan, plan.in(memory), team);
          if (overwritten.test(plan.weight)) {
            NativeBuffer.giveBack(plan.source, plan.weight.value().nbytes());
          }
        }
      }
    }
    return memory;
  }

  private static void pack(Plan plan, PackedMatrix matrix, ThreadTeam team) {
    int whole = plan.packWhole(matrix);
    team.run(
        member -> {
          member.begin(matrix.blocks() - whole);
          for (int item = member.next(); item >= 0; item = member.next()) {
            plan.pack(matrix, whole + item);
          }
          member.end();
        });
  }

  private Stream<Plan> inPlace() {
    return ordered.stream().filter(plan -> plan.inPlace);
  }

  /** Bytes of all packed matrices. */
  long packedBytes() {
    return ordered.stream().mapToLong(Plan::packedBytes).sum();
  }

  /**
   * The longest memory without gaps that holds packed matrices.
   *
   * @param memory what {@link #pack} gave
   */
  Region longest(NativeBuffer memory) {
    Region longest = new Region(memory.address(), memory.bytes());
    Region run = new Region(0, 0);
    List<Plan> byAddress =
        inPlace().sorted(Comparator.comparingLong((Plan plan) -> plan.source)).toList();
    for (Plan plan : byAddress) {
      run =
          plan.source == run.end()
              ? new Region(run.address(), run.bytes() + plan.packedBytes())
              : new Region(plan.source, plan.packedBytes());
      longest = run.bytes() > longest.bytes() ? run : longest;
    }
    return longest;
  }
}
