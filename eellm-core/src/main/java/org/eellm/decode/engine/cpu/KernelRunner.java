package org.eellm.decode.engine.cpu;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ForwardProfiler;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.head.DraftOutput;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.head.UnlistedIds;
import org.eellm.decode.head.Vocabulary;
import org.eellm.kernel.PageLayout;
import org.eellm.kernel.machine.CpuCache;
import org.eellm.kernel.machine.MemoryBandwidth;
import org.eellm.kernel.machine.ThreadTeam;
import org.eellm.kernel.machine.Threads;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;
import org.eellm.model.ModelUsers;
import org.eellm.model.StoredDecoder;
import org.eellm.model.TensorParallel;

/**
 * Passes on CPUs with own kernels (machine code, or Java): weights packed once, buffers made once,
 * threads in step through all layers between two exits. No operation of libtorch runs in a pass;
 * tensor-parallel ranks exchange sums by its collectives.
 *
 * <p>Sums, and the stream between branches, are float32. Weights, activations that meet weights,
 * keys and values have the model's format; activations that meet weights of 8 or 4 bits have 8
 * bits, with a scale for each group of inputs.
 */
public final class KernelRunner implements ModelRunner {
  private final DecodingModel model;
  private final ModelUsers.Use use;
  private final TensorParallel parallel;
  private final int hidden;
  private final float embeddingScale;
  private final int firstBranch; // of those here, in the whole model
  private final ThreadTeam team;
  private final PackedModel packed;
  private final ModelKernels kernels;
  private final Workspace workspace;
  private final HiddenStates states;
  final KernelKeyValueCache memory;
  private final KernelExecutor pass;
  private final Optional<ForwardProfiler> profiler;
  private final float[] row;
  private final float[] position;
  private final NativeBuffer embedded; // [MAX_ROWS, hidden]
  private final List<ThreadTeam.Program> predictions; // by head here
  private final List<ThreadTeam.Program> draftPredictions; // the same
  private final List<DraftOutput.Extension> extensions; // the same
  private final int[] draftIds;
  private final int vocabSize;
  private final ForwardBatch headRows = new ForwardBatch();
  private final ForwardBatch askedRows = new ForwardBatch();
  private final Deque<Runnable> closings = new ArrayDeque<>(); // the last part's first

  /**
   * Packs a model's weights.
   *
   * @param model which may be closed before this: its memory is freed after both
   * @param threads to compute with
   */
  public KernelRunner(DecodingModel model, Vocabulary vocabulary, int pages, int threads) {
    this.model = model;
    use = model.users().add();
    closings.push(use::close);
    try {
      parallel = model.parallel();
      ModelConfig shape = model.architecture().model();
      ModelConfig shard = shape.shard(parallel.size());
      hidden = shape.hiddenSize();
      embeddingScale = embeddingScale(shape);
      firstBranch = model.firstBranch();
      team = new ThreadTeam(threads);
      closings.push(team::close);
      packed = PackedModel.of(model, vocabulary, team);
      closings.push(packed::close);
      kernels = ModelKernels.of(model);
      PageLayout layout = new PageLayout(PackedWeights.cache(model), shape.headDim());
      workspace =
          new Workspace(
              threads,
              kernels,
              shard,
              layout,
              packed.weights().adapters(),
              model.draftHead().isPresent());
      closings.push(workspace::close);
      int width = shape.residual() == Residual.PARALLEL ? 2 * hidden : hidden;
      states = new HiddenStates(2 * Workspace.MAX_ROWS, width);
      closings.push(states::close);
      memory =
          new KernelKeyValueCache(layout, shard.numKeyValueHeads(), pages, packed.attentions());
      closings.push(memory::close);
      pass = new KernelExecutor(team, workspace, states, memory, RotaryTable.of(shape), parallel);
      closings.push(pass::close);
      predictions = programs(packed.heads());
      draftPredictions = programs(packed.draftHeads());
      draftIds = vocabulary.draftIds().stream().mapToInt(Integer::intValue).toArray();
      boolean[] listed = UnlistedIds.listed(vocabulary);
      extensions =
          packed.draftHeads().stream()
              .<DraftOutput.Extension>map(head -> new UnlistedIds(listed, head.scorer(hidden)))
              .toList();
      vocabSize = vocabulary.size();
      profiler = Optional.of(pass.profiler());
      row = new float[hidden];
      position = new float[hidden];
      embedded = NativeBuffer.allocate(4L * Workspace.MAX_ROWS * hidden);
      closings.push(embedded::close);
    } catch (RuntimeException | Error e) {
      close(); // what there is
      throw e;
    }
  }

  /** What embeddings are multiplied by, in the format that the model computes in. */
  private static float embeddingScale(ModelConfig model) {
    float scale = (float) model.embeddingScale();
    return switch (model.dtype()) {
      case FLOAT32 -> scale;
      case BFLOAT16 -> Float.intBitsToFloat(NativeNumbers.bfloat16(scale) << Short.SIZE);
    };
  }

  /** Packs a stored model's weights, once for all its runners, and closes its files. */
  public static void pack(StoredDecoder model) {
    try (ModelUsers.Use _ = model.users().add();
        ThreadTeam team = new ThreadTeam(Threads.count())) {
      model.pack(PackedWeights.of(model, team));
    }
  }

  /** Whether a decoder's weights are where, and as, they can be packed. */
  public static boolean takes(Decoder model) {
    return model.isOnCpu() && model.quantization().equals(MatrixQuantization.NONE);
  }

  private List<ThreadTeam.Program> programs(List<KernelHead> heads) {
    return heads.stream()
        .<ThreadTeam.Program>map(head -> member -> pass.predict(member, head))
        .toList();
  }

  @Override
  public DecodingModel model() {
    return model;
  }

  public String kernelText() {
    return kernels.text();
  }

  @Override
  public int pages() {
    return memory.pages();
  }

  @Override
  public int allocateSlot() {
    requireOpen();
    return states.allocateSlot();
  }

  @Override
  public void release(int slot) {
    states.release(slot);
  }

  @Override
  public void copy(int from, int to) {
    states.copy(from, to);
  }

  @Override
  public int hiddenBytes() {
    return states.rowBytes();
  }

  @Override
  public void read(int slot, byte[] to, int at) {
    states.read(slot, to, at);
  }

  @Override
  public void write(int slot, byte[] from, int at) {
    states.write(slot, from, at);
  }

  @Override
  public void copyPage(int from, int to) {
    memory.copy(from, to);
  }

  @Override
  public Optional<ForwardProfiler> profiler() {
    return profiler;
  }

  @Override
  public OptionalDouble weightReadRate(double seconds) {
    PackedWeights weights = packed.weights();
    return OptionalDouble.of(
        MemoryBandwidth.bytesPerSecond(
            team, weights.memory().address(), weights.matrixBytes(), seconds));
  }

  /** Bytes of the packed weights of the first layers here that a token's pass reads. */
  public long trunkBytes(int layers) {
    return packed.trunk().stream().limit(2L * layers).mapToLong(branch -> branch.bytes(1)).sum();
  }

  public long headBytes(Head head) {
    return packed.heads().get(indexHere(head)).bytes();
  }

  /** Bytes of all packed weights; what several heads share counts once. */
  public long weightBytes() {
    return packed.weights().matrixBytes();
  }

  /** Whether all packed weights fit the processor's last cache. */
  public boolean withinCache() {
    return weightBytes() <= CpuCache.bytes();
  }

  private void requireOpen() {
    if (closings.isEmpty()) {
      throw new IllegalStateException("the runner is closed");
    }
  }

  @Override
  public void embed(ForwardBatch rows, int[] ids) {
    requireOpen();
    pass.profiler().start();
    EmbeddingTable tokens = packed.weights().tokens().orElseThrow();
    for (int first = 0; first < rows.rows(); first += Workspace.MAX_ROWS) {
      int count = Math.min(Workspace.MAX_ROWS, rows.rows() - first);
      for (int i = 0; i < count; i++) {
        tokens.read(ids[first + i], row);
        write(row, embedded.address() + 4L * i * hidden);
      }
      if (parallel.size() > 1) {
        parallel.sum(embedded.address(), (long) count * hidden);
      }
      for (int i = 0; i < count; i++) {
        int slot = rows.slot(first + i);
        embed(embedded.address() + 4L * i * hidden, rows.position(first + i), states.address(slot));
      }
    }
    pass.profiler().mark(ForwardProfiler.Part.EMBEDDING);
  }

  /** Makes of a token's vector, which it may change, the stream before the first layer. */
  private void embed(long from, int place, long to) {
    if (embeddingScale != 1) {
      RowKernel.chosen().multiply(from, hidden, embeddingScale);
    }
    FloatArithmetic.read(from, row, 0, hidden);
    Optional<EmbeddingTable> positions = packed.weights().positions();
    if (positions.isPresent()) {
      positions.get().read(place, position);
      for (int i = 0; i < hidden; i++) {
        row[i] += position[i];
      }
    }
    write(row, to);
  }

  private static void write(float[] values, long to) {
    FloatArithmetic.write(values, 0, to, values.length);
  }

  @Override
  public void run(int from, int to, ForwardBatch rows) {
    requireOpen();
    for (int row = 0; row < rows.rows(); ) {
      row = pass.load(rows, row);
      pass.run(packed.trunk(), from - firstBranch, to - firstBranch);
    }
  }

  @Override
  public void propagate(int from, int to, ForwardBatch rows) {
    for (int row = 0; row < rows.rows(); ) {
      row = pass.load(rows, row);
      pass.propagate(packed.trunk(), from - firstBranch, to - firstBranch);
    }
  }

  @Override
  public HeadOutput predict(Head head, ForwardBatch rows, int[] asked, int count) {
    int index = indexHere(head);
    return predict(packed.heads().get(index), predictions.get(index), rows, asked, count);
  }

  @Override
  public HeadOutput draft(Head exit, ForwardBatch rows, int[] asked, int count) {
    int index = indexHere(exit);
    if (packed.draftHeads().isEmpty()) {
      return predict(exit, rows, asked, count);
    }
    KernelHead layers = packed.draftHeads().get(index);
    return new DraftOutput(
        predict(layers, draftPredictions.get(index), rows, asked, count),
        draftIds,
        vocabSize,
        extensions.get(index));
  }

  private HeadOutput predict(
      KernelHead layers, ThreadTeam.Program program, ForwardBatch rows, int[] asked, int count) {
    ForwardBatch read = layers.branches().isEmpty() ? rows : throughBranches(layers, rows);
    askedRows.clear();
    for (int i = 0; i < count; i++) {
      askedRows.begin(NO_PAGES);
      askedRows.add(read.slot(asked[i]), read.position(asked[i]));
    }
    layers.logits().begin(count);
    for (int row = 0; row < count; ) {
      int first = row;
      row = pass.load(askedRows, row);
      pass.predict(layers, program, first);
    }
    if (read == headRows) {
      for (int row = 0; row < headRows.rows(); row++) {
        states.release(headRows.slot(row));
      }
    }
    return layers.logits();
  }

  @Override
  public Optional<DraftLayer> draftLayer() {
    return model.draftHead().map(_ -> this::runDraftHead);
  }

  private void runDraftHead(ForwardBatch rows, int[] ids) {
    requireOpen();
    EmbeddingTable tokens = packed.weights().tokens().orElseThrow();
    long inputs = workspace.embedded.orElseThrow().address();
    List<KernelBranch> branches = packed.draftLayer();
    boolean hasOthers = rows.rows() > rows.ranges(); // than each sequence's last
    for (int first = 0; first < rows.rows(); ) {
      int end = pass.load(rows, first);
      for (int i = first; i < end; i++) {
        long to = inputs + 4L * (i - first) * hidden;
        tokens.read(ids[i], row);
        write(row, to);
        embed(to, rows.position(i), to);
      }
      pass.run(branches, 0, 1);
      if (hasOthers) {
        pass.propagate(branches, 1, branches.size());
      }
      first = end;
    }
    ForwardBatch last = hasOthers ? lastOfEach(rows) : rows;
    for (int row = 0; row < last.rows(); ) {
      row = pass.load(last, row);
      pass.run(branches, 1, branches.size());
    }
  }

  private ForwardBatch lastOfEach(ForwardBatch rows) {
    headRows.clear();
    for (int range = 0; range < rows.ranges(); range++) {
      headRows.begin(rows.pages(range), rows.adapter(range));
      headRows.add(rows.slot(rows.end(range) - 1), rows.position(rows.end(range) - 1));
    }
    return headRows;
  }

  private static final int[] NO_PAGES = {};

  private int indexHere(Head head) {
    for (int i = 0; i < packed.heads().size(); i++) {
      if (packed.heads().get(i).logits().head().index() == head.index()) {
        return i;
      }
    }
    throw new IllegalArgumentException(head.id() + " is not on this rank");
  }

  /** Copies of rows that have passed a head's branches. */
  private ForwardBatch throughBranches(KernelHead layers, ForwardBatch rows) {
    headRows.clear();
    for (int range = 0; range < rows.ranges(); range++) {
      headRows.begin(rows.pages(range), rows.adapter(range));
      for (int row = rows.start(range); row < rows.end(range); row++) {
        int slot = states.allocateSlot();
        states.copy(rows.slot(row), slot);
        headRows.add(slot, rows.position(row));
      }
    }
    for (int row = 0; row < headRows.rows(); ) {
      row = pass.load(headRows, row);
      pass.run(layers.branches(), 0, layers.branches().size());
    }
    return headRows;
  }

  @Override
  public void close() {
    while (!closings.isEmpty()) {
      closings.pop().run();
    }
  }
}
