package org.eellm.decode.engine.cpu;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ForwardProfiler;
import org.eellm.decode.engine.ForwardProfiler.Part;
import org.eellm.kernel.machine.ThreadTeam;
import org.eellm.kernel.machine.ThreadTeam.Member;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.matmul.PackedInput;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeInts;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.model.TensorParallel;
import org.jspecify.annotations.Nullable;

/**
 * Some rows of a block on their way through branches: what the branches share, and the phases that
 * they are made of. Rows count from the first of this pass.
 */
final class KernelExecutor implements AutoCloseable {
  private final ThreadTeam team;
  private final Workspace workspace;
  private final HiddenStates states;
  private final KernelKeyValueCache memory;
  private final Map<LayerType, RotaryTable> rotations;
  private final TensorParallel parallel;
  private final int hidden;
  private final ForwardProfiler profiler = new ForwardProfiler();
  private final ThreadTeam.Program passing = this::pass;
  private final ThreadTeam.Program propagating = this::propagate;

  private List<KernelBranch> branches = List.of();
  private int from;
  private int to;
  private int firstLogits;
  private final int[] slots = new int[Workspace.MAX_ROWS];
  private final int[] positions = new int[Workspace.MAX_ROWS];
  private final int[] rangeOf = new int[Workspace.MAX_ROWS];
  private int rows;
  private final int[] starts = new int[Workspace.MAX_ROWS + 1]; // of ranges
  private final NativeInts[] pages = new NativeInts[Workspace.MAX_ROWS]; // by range
  private int ranges;
  private final int[] limits; // positions that queries see: [rows, group]
  private final int[] tileStarts = new int[Workspace.MAX_ROWS + 1];
  private int tiles;

  /** Where the outputs of an item go. */
  @FunctionalInterface
  interface Sink {
    /** Writes the outputs in a member's tile to where they belong. */
    void write(KernelExecutor pass, Workspace.ThreadWorkspace own);
  }

  /**
   * Adds outputs to the stream.
   *
   * @param factor of the outputs alone
   * @param norm of outputs with their bias; it takes whole rows
   */
  record Residual(Optional<FloatArray> bias, float factor, Optional<KernelNorm> norm)
      implements Sink {
    @Override
    public void write(KernelExecutor pass, Workspace.ThreadWorkspace own) {
      Workspace.OutputTile tile = own.tile;
      int column = tile.firstBlock * PackedMatrix.BLOCK;
      int width = Math.min(tile.blocks * PackedMatrix.BLOCK, pass.hidden - column);
      for (int row = 0; row < tile.rows; row++) {
        add(tile.address(row), pass.stream(tile.firstRow + row), column, width);
      }
    }

    private void add(long from, long stream, int column, int width) {
      long to = stream + 4L * column;
      if (factor != 1) {
        RowKernel.chosen().multiply(from, width, factor);
      }
      RowKernel.chosen().add(from, to, width);
      if (bias.isPresent()) {
        RowKernel.chosen().add(bias.get(), column, to, width);
      }
    }

    private void addRow(long from, long to, FloatArray scratch) {
      int width = scratch.length();
      if (norm.isEmpty()) {
        add(from, to, 0, width);
        return;
      }
      if (bias.isPresent()) {
        RowKernel.chosen().add(bias.get(), 0, from, width);
      }
      norm.get().apply(from, scratch);
      RowKernel.chosen().add(scratch, 0, to, width);
    }
  }

  KernelExecutor(
      ThreadTeam team,
      Workspace workspace,
      HiddenStates states,
      KernelKeyValueCache memory,
      Map<LayerType, RotaryTable> rotations,
      TensorParallel parallel) {
    this.team = team;
    this.workspace = workspace;
    this.states = states;
    this.memory = memory;
    this.rotations = rotations;
    this.parallel = parallel;
    hidden = workspace.normed.in();
    limits = new int[workspace.limits.room()];
    Arrays.fill(pages, new NativeInts(0)); // until a sequence has pages
  }

  ForwardProfiler profiler() {
    return profiler;
  }

  Workspace workspace() {
    return workspace;
  }

  KernelKeyValueCache memory() {
    return memory;
  }

  RotaryTable rotation(LayerType type) {
    return Objects.requireNonNull(rotations.get(type));
  }

  int rows() {
    return rows;
  }

  /** That share the model's matrices. */
  int ranks() {
    return parallel.size();
  }

  int ranges() {
    return ranges;
  }

  int start(int range) {
    return starts[range];
  }

  int end(int range) {
    return starts[range + 1];
  }

  /** Rows that attend together: parts of ranges. */
  int tiles() {
    return tiles;
  }

  int tileStart(int tile) {
    return tileStarts[tile];
  }

  int tileEnd(int tile) {
    return Math.min(
        Math.min(tileStarts[tile] + Workspace.ATTENTION_ROWS, rows),
        end(rangeOf[tileStarts[tile]]));
  }

  /** Whether a range has several tiles, so that all its keys are to be written first. */
  boolean attendsInParts() {
    return tiles > ranges;
  }

  int position(int row) {
    return positions[row];
  }

  NativeInts pages(int row) {
    return pages[rangeOf[row]];
  }

  /**
   * Takes rows of a block, as many as a pass has room for.
   *
   * @param first row of the block
   * @return the row after the last of those
   */
  int load(ForwardBatch block, int first) {
    rows = 0;
    ranges = 0;
    tiles = 0;
    workspace.adapters.clear();
    int longest = 0;
    int end = Math.min(block.rows(), first + Workspace.MAX_ROWS);
    for (int range = 0; range < block.ranges(); range++) {
      int from = Math.max(first, block.start(range));
      int to = Math.min(end, block.end(range));
      if (from >= to) {
        continue;
      }
      writePages(ranges, block.pages(range));
      starts[ranges] = rows;
      for (int row = from; row < to; row++) {
        if ((row - from) % Workspace.ATTENTION_ROWS == 0) {
          tileStarts[tiles++] = rows;
        }
        slots[rows] = block.slot(row);
        positions[rows] = block.position(row);
        rangeOf[rows] = ranges;
        rows++;
      }
      workspace.adapters.put(starts[ranges], rows, block.adapter(range));
      longest = Math.max(longest, positions[rows - 1] + 1);
      ranges++;
      starts[ranges] = rows;
    }
    for (RotaryTable rotation : rotations.values()) {
      rotation.require(longest);
    }
    writeLimits();
    return end;
  }

  private void writeLimits() {
    int group = workspace.group;
    for (int row = 0; row < rows; row++) {
      Arrays.fill(limits, row * group, (row + 1) * group, positions[row] + 1);
    }
    workspace.limits.copy(limits, rows * group);
  }

  /** Keeps the pages of a range in native memory, in that of an earlier pass if there is room. */
  private void writePages(int range, int[] ofSequence) {
    NativeInts numbers = pages[range];
    if (numbers.room() < ofSequence.length) {
      pages[range] = new NativeInts(2 * ofSequence.length);
      numbers.close();
    }
    pages[range].copy(ofSequence, ofSequence.length);
  }

  /**
   * Takes the loaded rows through branches, on all threads.
   *
   * @param first of the branches
   * @param end the branch after the last
   */
  void run(List<KernelBranch> through, int first, int end) {
    run(through, first, end, passing);
  }

  /**
   * Writes the loaded rows' keys and values at branches, which the rows do not pass.
   *
   * @param first of the branches
   * @param end the branch after the last
   */
  void propagate(List<KernelBranch> past, int first, int end) {
    run(past, first, end, propagating);
  }

  private void run(List<KernelBranch> through, int first, int end, ThreadTeam.Program program) {
    branches = through;
    from = first;
    to = end;
    long bytes = 0;
    for (int i = first; i < end; i++) {
      bytes += through.get(i).bytes(rows);
      if (through.get(i) instanceof KernelBranch.Attention attention) {
        memory.markRun(attention.slot());
      }
    }
    profiler.count(end - first, rows, bytes);
    workspace.normed.begin(rows);
    workspace.attentionOutput.begin(rows);
    workspace.ffnActivations.begin(rows);
    workspace.draftInput.ifPresent(input -> input.begin(rows));
    if (workspace.routing.isPresent()) {
      workspace.routing.get().begin(rows);
    }
    workspace.adapters.begin(rows);
    workspace.forget();
    profiler.start();
    team.run(program);
    profiler.mark(Part.FORK_JOIN);
  }

  private void pass(Member member) {
    for (int i = from; i < to; i++) {
      branches.get(i).run(member, this);
    }
  }

  private void propagate(Member member) {
    for (int i = from; i < to; i++) {
      if (branches.get(i) instanceof KernelBranch.Attention attention) {
        attention.propagate(member, this);
      }
    }
  }

  /**
   * Computes a head's logits, and figures of them, for the loaded rows.
   *
   * @param program that calls {@link #predict(Member, KernelHead)}
   * @param at the first row of the logits
   */
  void predict(KernelHead of, ThreadTeam.Program program, int at) {
    firstLogits = at;
    profiler.count(0, rows, of.output().bytes());
    workspace.headNormed.begin(rows);
    profiler.start();
    team.run(program);
    of.logits().conclude(at, at + rows);
    profiler.mark(Part.FORK_JOIN);
  }

  /** A member's part of {@link #predict(KernelHead, ThreadTeam.Program, int)}. */
  void predict(Member member, KernelHead of) {
    KernelLogits logits = of.logits();
    PackedInput own = workspace.own(member.index()).headNormed;
    PackedInput normed = normed(member, of.norm(), 0, own, workspace.headNormed);
    if (parallel.size() == 1) {
      product(member, of.output(), normed, logits.row(firstLogits), logits.width());
      profiler.mark(member, Part.HEAD_PRODUCTS);
    } else {
      product(member, of.output(), normed, logits.part(), logits.partWidth());
      member.begin(1);
      for (int i = member.next(); i >= 0; i = member.next()) {
        logits.join(parallel, firstLogits, rows);
      }
      member.end();
      profiler.mark(member, Part.HEAD_PRODUCTS);
    }
    int first = logits.items(firstLogits);
    member.begin(logits.items(rows));
    for (int i = member.next(); i >= 0; i = member.next()) {
      logits.findLargest(first + i);
      if (logits.keepsHidden(i)) {
        int row = logits.rowOf(i);
        FloatArray hidden = workspace.own(member.index()).row;
        of.norm().apply(stream(row), hidden);
        logits.keepHidden(firstLogits + row, hidden.values());
      }
    }
    member.end();
    member.begin(logits.items(rows));
    for (int i = member.next(); i >= 0; i = member.next()) {
      logits.sum(first + i);
    }
    member.end();
    profiler.mark(member, Part.LOGITS);
  }

  long stream(int row) {
    return states.address(slots[row]);
  }

  /**
   * Rows normed for a product.
   *
   * @param half which half of a wide stream is read
   */
  PackedInput normed(Member member, KernelNorm norm, int half) {
    return normed(member, norm, half, workspace.own(member.index()).normed, workspace.normed);
  }

  /** Rows normed for a product: in the member's own buffer if they are few, else in that of all. */
  PackedInput normed(Member member, KernelNorm norm, int half, PackedInput few, PackedInput many) {
    FloatArray normed = workspace.own(member.index()).row;
    long offset = 4L * half * hidden;
    if (rows <= Workspace.OWN_ROWS) {
      few.begin(rows);
      for (int row = 0; row < rows; row++) {
        norm.apply(stream(row) + offset, normed);
        few.put(row, 0, normed, 0, hidden);
      }
      profiler.mark(member, Part.NORMS);
      return few;
    }
    member.begin(Math.ceilDiv(rows, Workspace.OWN_ROWS));
    for (int i = member.next(); i >= 0; i = member.next()) {
      int end = Math.min(rows, (i + 1) * Workspace.OWN_ROWS);
      for (int row = i * Workspace.OWN_ROWS; row < end; row++) {
        norm.apply(stream(row) + offset, normed);
        many.put(row, 0, normed, 0, hidden);
      }
    }
    member.end();
    profiler.mark(member, Part.NORMS);
    return many;
  }

  /**
   * Norms a row of the stream.
   *
   * @param half as of {@link #normed}
   */
  void norm(KernelNorm norm, int row, int half, FloatArray out) {
    norm.apply(stream(row) + 4L * half * hidden, out);
  }

  /** Copies the stream's first half, which attention reads, to its second, which the MLP reads. */
  void saveInput(Member member) {
    float[] copy = workspace.own(member.index()).row.values();
    member.begin(rows);
    for (int row = member.next(); row >= 0; row = member.next()) {
      FloatArithmetic.read(stream(row), copy, 0, hidden);
      FloatArithmetic.write(copy, 0, stream(row) + 4L * hidden, hidden);
    }
    member.end();
  }

  /**
   * A product straight to memory, float32, [rows, width].
   *
   * @param width a multiple of a block, with room for all outputs
   */
  void product(Member member, PackedMatrix w, PackedInput x, long y, int width) {
    int each = itemBlocks(w, 1);
    int most = Workspace.ITEM_BLOCKS / each;
    long rowBytes = 4L * width;
    KernelAdapters.Product changes = changes(member, w, x);
    member.begin(Math.ceilDiv(w.blocks(), each));
    for (int i = member.next(most); i >= 0; i = member.next(most)) {
      int block = i * each;
      int blocks = Math.min(member.count() * each, w.blocks() - block);
      long to = y + 4L * block * PackedMatrix.BLOCK;
      for (int row = 0; row < rows; row += x.groupRows()) {
        int count = Math.min(x.groupRows(), rows - row);
        long first = to + row * rowBytes;
        x.kernel().multiply(w, block, blocks, x, row, count, first, rowBytes);
        if (changes != null) {
          changes.add(member.index(), block, blocks, row, first, rowBytes);
        }
      }
    }
    member.end();
  }

  /** What adapters add to a product, their first factors' part of which is made here. */
  private KernelAdapters.@Nullable Product changes(Member member, PackedMatrix w, PackedInput x) {
    KernelAdapters.Product changes = workspace.adapters.of(w);
    if (changes != null) {
      changes.project(member, x);
    }
    return changes;
  }

  /**
   * A product by way of the members' tiles.
   *
   * @param multiple of so many blocks each item is
   */
  void product(Member member, PackedMatrix w, PackedInput x, int multiple, Sink sink) {
    Workspace.ThreadWorkspace own = workspace.own(member.index());
    int each = itemBlocks(w, multiple);
    Workspace.OutputTile tile = own.tile;
    int most = tile.roomForBlocks(Math.min(x.groupRows(), rows)) / each;
    tile.rowBytes = 4L * most * each * PackedMatrix.BLOCK;
    KernelAdapters.Product changes = changes(member, w, x);
    member.begin(Math.ceilDiv(w.blocks(), each));
    for (int i = member.next(most); i >= 0; i = member.next(most)) {
      int block = i * each;
      int blocks = Math.min(member.count() * each, w.blocks() - block);
      tile.firstBlock = block;
      tile.blocks = blocks;
      int group = x.groupRows();
      for (int row = 0; row < rows; row += group) {
        tile.firstRow = row;
        tile.rows = Math.min(group, rows - row);
        x.kernel().multiply(w, block, blocks, x, row, tile.rows, tile.address(), tile.rowBytes);
        if (changes != null) {
          changes.add(member.index(), block, blocks, row, tile.address(), tile.rowBytes);
        }
        sink.write(this, own);
      }
    }
    member.end();
  }

  /** Blocks of an item: as many as take a few microseconds, but enough items for all members. */
  int itemBlocks(PackedMatrix w, int multiple) {
    int worth = (int) Math.clamp(ITEM_BYTES / w.blockBytes(), 1, Workspace.LEAST_TILE_BLOCKS);
    int shared = Math.max(1, w.blocks() / (2 * team.size()));
    return Math.ceilDiv(Math.min(worth, shared), multiple) * multiple;
  }

  private static final long ITEM_BYTES = 96 << 10;

  /** Adds a product to the stream. */
  void addProduct(Member member, PackedMatrix w, PackedInput x, Residual residual) {
    if (parallel.size() == 1 && residual.norm().isEmpty()) {
      product(member, w, x, 1, residual);
      return;
    }
    product(member, w, x, workspace.partial.address(), workspace.partialWidth);
    addPartial(member, residual);
  }

  /** Adds the sums over this rank's inputs, and those of the other ranks, to the stream. */
  void addPartial(Member member, Residual residual) {
    if (parallel.size() > 1) {
      sumOverRanks(member, workspace.partial.address(), (long) rows * workspace.partialWidth);
    }
    member.begin(rows);
    for (int row = member.next(); row >= 0; row = member.next()) {
      long from = workspace.partial(row);
      residual.addRow(from, stream(row), workspace.own(member.index()).row);
    }
    member.end();
  }

  void sumOverRanks(Member member, long at, long count) {
    member.begin(1);
    for (int i = member.next(); i >= 0; i = member.next()) {
      parallel.sum(at, count);
    }
    member.end();
  }

  @Override
  public void close() {
    for (NativeInts numbers : pages) {
      numbers.close();
    }
    rotations.values().forEach(RotaryTable::close);
  }
}
