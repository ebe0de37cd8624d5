package org.eellm.decode.engine.cpu;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.eellm.kernel.machine.ThreadTeam;
import org.eellm.kernel.machine.ThreadTeam.Member;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.matmul.MatmulKernel;
import org.eellm.kernel.matmul.PackedInput;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.weight.MatrixPacker;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.StoredRows;
import org.eellm.kernel.weight.WeightFormat;
import org.eellm.kernel.weight.WeightRows;
import org.eellm.model.Adapter;
import org.eellm.model.DecodingModel;
import org.eellm.model.parameter.ParameterSpec;
import org.jspecify.annotations.Nullable;

/**
 * What the adapters of a pass's rows add to its products: {@code B (A x)} in float32, whatever the
 * format of the matrix. All rows are multiplied with the matrix together; each is the same to the
 * bit whatever adapters are beside it.
 */
final class KernelAdapters implements AutoCloseable {
  private static final int BLOCK_BYTES = PackedMatrix.BLOCK * Float.BYTES;

  /** Products of a row with rows of A that a thread takes at once. */
  private static final int CHUNK = 8;

  private final MatmulKernel kernel;
  private final int group; // rows that the matrices are multiplied with at once
  private final Map<PackedMatrix, Product> products = new HashMap<>();
  private final List<PackedInput> inputs = new ArrayList<>(); // A x, one of each width
  private final List<FloatArray> chunks = new ArrayList<>(); // by member
  private final List<NativeBuffer> blocks = new ArrayList<>(); // of outputs, by member
  private final int[] adapters = new int[Workspace.MAX_ROWS]; // by row; 0 for none
  private boolean any;

  /**
   * An adapter's change of a matrix, of whose maps, which are stacked, it changes some.
   *
   * @param memory of both factors, A first
   * @param rows of A, those of one map after another's, float32, [rows, in]
   * @param out B times its scale, laid out as the matrix is; 0 for one map's rows of A at another's
   *     outputs
   */
  private record Change(NativeBuffer memory, int rows, PackedMatrix out) {}

  /** All changes of a model, packed once for all its runners: of each matrix, by adapter. */
  record Packed(Map<PackedMatrix, List<Optional<Change>>> changes) implements AutoCloseable {
    /**
     * Packs changes.
     *
     * @param matrices by the name of the first parameter that stands in them
     */
    static Packed of(DecodingModel model, Map<String, PackedMatrix> matrices, ThreadTeam team) {
      Map<PackedMatrix, List<Optional<Change>>> changes = new HashMap<>();
      for (List<ParameterSpec> group : model.parameterGroups()) {
        int width = model.adapters().stream().mapToInt(each -> rank(each, group)).max().orElse(0);
        PackedMatrix matrix = matrices.get(group.getFirst().name());
        if (width > 0 && matrix != null) {
          changes.put(
              matrix,
              model.adapters().stream().map(each -> change(each, group, width, team)).toList());
        }
      }
      return new Packed(changes);
    }

    /** Rows of A for all of a group's maps. */
    private static int rank(Adapter adapter, List<ParameterSpec> group) {
      return ofGroup(adapter, group).mapToInt(change -> change.in().rows()).sum();
    }

    private static Stream<Adapter.Change> ofGroup(Adapter adapter, List<ParameterSpec> group) {
      return group.stream().map(ParameterSpec::name).flatMap(name -> found(adapter, name).stream());
    }

    private static Optional<Adapter.Change> found(Adapter adapter, String name) {
      return Optional.ofNullable(adapter.changes().get(name));
    }

    private static Optional<Change> change(
        Adapter adapter, List<ParameterSpec> group, int width, ThreadTeam team) {
      int rank = rank(adapter, group);
      if (rank == 0) {
        return Optional.empty();
      }
      int columns = Math.toIntExact(group.getFirst().shape().getLast());
      long inBytes = Math.ceilDiv(4L * rank * columns, 64L) * 64;
      long outputs = group.stream().mapToLong(spec -> spec.shape().getFirst()).sum();
      try (NativeBuffer factors = NativeBuffer.allocate(4L * outputs * width)) {
        MatrixPacker packer =
            PackedWeights.packer(
                group.getFirst().name(),
                WeightFormat.FLOAT32,
                outs(adapter, group, width, factors.address()));
        NativeBuffer memory = NativeBuffer.allocate(inBytes + packer.bytes());
        long to = memory.address();
        for (Adapter.Change change : ofGroup(adapter, group).toList()) {
          for (int row = 0; row < change.in().rows(); row++) {
            change.in().write(row, WeightFormat.FLOAT32, to);
            to += 4L * columns;
          }
        }
        return Optional.of(new Change(memory, rank, packer.pack(memory.address() + inBytes, team)));
      }
    }

    /** Writes each map's rows of B, beside each other's columns. */
    private static List<WeightRows> outs(
        Adapter adapter, List<ParameterSpec> group, int width, long to) {
      List<WeightRows> outs = new ArrayList<>();
      int column = 0;
      for (ParameterSpec spec : group) {
        int rows = Math.toIntExact(spec.shape().getFirst());
        Optional<Adapter.Change> change = found(adapter, spec.name());
        if (change.isPresent()) {
          float[] row = new float[change.get().in().rows()];
          for (int i = 0; i < rows; i++) {
            change.get().out().read(i, row, 0);
            for (int r = 0; r < row.length; r++) {
              row[r] *= (float) change.get().scale();
            }
            FloatArithmetic.write(row, 0, to + 4L * (i * width + column), row.length);
          }
          column += row.length;
        }
        outs.add(StoredRows.of(StoredRows.Type.FLOAT32, to, rows, width));
        to += 4L * rows * width;
      }
      return outs;
    }

    @Override
    public void close() {
      changes.values().stream()
          .flatMap(all -> all.stream().flatMap(Optional::stream))
          .forEach(change -> change.memory().close());
    }
  }

  /**
   * @param group rows that the matrices are multiplied with at once
   */
  KernelAdapters(Packed packed, ModelKernels kernels, int group, int members) {
    kernel = packed.changes().isEmpty() ? kernels.layers() : kernels.routers();
    this.group = group;
    packed
        .changes()
        .forEach(
            (matrix, changes) -> {
              Change any = changes.stream().flatMap(Optional::stream).findAny().orElseThrow();
              products.put(matrix, new Product(changes, input(any.out().in())));
            });
    for (int i = 0; i < members && !products.isEmpty(); i++) {
      chunks.add(FloatArray.allocate(CHUNK));
      blocks.add(NativeBuffer.allocate((long) BLOCK_BYTES * Workspace.MAX_ROWS));
    }
  }

  private PackedInput input(int width) {
    return inputs.stream()
        .filter(each -> each.in() == width)
        .findFirst()
        .orElseGet(
            () -> {
              inputs.add(kernel.allocate(Workspace.MAX_ROWS, width));
              return inputs.getLast();
            });
  }

  boolean isEmpty() {
    return products.isEmpty();
  }

  void clear() {
    any = false;
  }

  /**
   * Tells which one some rows of the pass have.
   *
   * @param adapter its number, from 1; 0 for none
   */
  void put(int from, int to, int adapter) {
    Arrays.fill(adapters, from, to, adapter);
    any |= adapter > 0;
  }

  void begin(int rows) {
    for (int i = 0; i < inputs.size() && any; i++) {
      inputs.get(i).begin(rows);
    }
  }

  /** What is added to the products with a matrix; null if nothing is. */
  @Nullable Product of(PackedMatrix matrix) {
    return any ? products.get(matrix) : null;
  }

  /** What is added to the products with a matrix. */
  final class Product {
    private final List<Optional<Change>> changes; // by adapter
    private final PackedInput projected; // A x of each row

    private Product(List<Optional<Change>> changes, PackedInput projected) {
      this.changes = changes;
      this.projected = projected;
    }

    /** Multiplies the rows of a pass with A. */
    void project(Member member, PackedInput x) {
      int each = Math.ceilDiv(projected.in(), CHUNK);
      FloatArray chunk = chunks.get(member.index());
      member.begin(projected.rows() * each);
      for (int i = member.next(); i >= 0; i = member.next()) {
        int row = i / each;
        if (isChanged(adapters[row])) {
          int first = i % each * CHUNK;
          int count = Math.min(CHUNK, projected.in() - first);
          project(changes.get(adapters[row] - 1).orElseThrow(), x.kept(row), first, chunk);
          projected.put(row, first, chunk, 0, count);
        }
      }
      member.end();
    }

    private void project(Change change, FloatArray x, int first, FloatArray to) {
      for (int i = 0; i < CHUNK; i++) {
        long row = change.memory().address() + 4L * x.length() * (first + i);
        to.values()[i] = first + i < change.rows() ? FloatArithmetic.dot(row, x, x.length()) : 0;
      }
    }

    private boolean isChanged(int adapter) {
      return adapter > 0 && changes.get(adapter - 1).isPresent();
    }

    /**
     * Adds to some blocks of outputs of a group of rows, as many as the matrix is multiplied with
     * at once.
     *
     * @param y address of the first row's first output
     * @param rowBytes from a row of y to the next
     */
    void add(int member, int firstBlock, int blocks, int first, long y, long rowBytes) {
      int end = Math.min(first + group, projected.rows());
      for (int adapter = 1; adapter <= changes.size(); adapter++) {
        if (isChanged(adapter) && isAmong(adapter, first, end)) {
          for (int from = first; from < end; from += projected.groupRows()) {
            int count = Math.min(projected.groupRows(), end - from);
            long rows = y + (from - first) * rowBytes;
            for (int i = 0; i < blocks; i++) {
              multiply(member, adapter, firstBlock + i, from, count);
              addRows(member, adapter, from, count, rows + (long) i * BLOCK_BYTES, rowBytes);
            }
          }
        }
      }
    }

    private void multiply(int member, int adapter, int block, int first, int rows) {
      PackedMatrix out = changes.get(adapter - 1).orElseThrow().out();
      long to = blocks.get(member).address();
      kernel.multiply(out, block, 1, projected, first, rows, to, BLOCK_BYTES);
    }

    /** Adds the block to the rows that have the adapter. */
    private void addRows(int member, int adapter, int first, int count, long y, long rowBytes) {
      long block = blocks.get(member).address();
      for (int i = 0; i < count; i++) {
        if (adapters[first + i] == adapter) {
          long more = block + (long) i * BLOCK_BYTES;
          RowKernel.chosen().add(more, y + i * rowBytes, PackedMatrix.BLOCK);
        }
      }
    }

    private boolean isAmong(int adapter, int first, int end) {
      for (int row = first; row < end; row++) {
        if (adapters[row] == adapter) {
          return true;
        }
      }
      return false;
    }
  }

  @Override
  public void close() {
    inputs.forEach(PackedInput::close);
    blocks.forEach(NativeBuffer::close);
  }
}
