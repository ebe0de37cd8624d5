package org.eellm.decode.engine.torch;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.head.DraftOutput;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.head.UnlistedIds;
import org.eellm.decode.head.Vocabulary;
import org.eellm.model.AttentionBranch;
import org.eellm.model.Branch;
import org.eellm.model.DecodeContext;
import org.eellm.model.Decoder;
import org.eellm.model.Head;
import org.eellm.model.HeadLayers;
import org.eellm.model.ModelUsers;
import org.eellm.tensor.OwnedTensor;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * Runs a model by libtorch's operations: on any device, with any kind of weights, and with layers
 * that several ranks share.
 */
public final class TorchRunner implements ModelRunner {
  /** Rows that go through branches at once; bounds the memory that long blocks take. */
  private static final int MAX_ROWS = 256;

  private static final int FIRST_SLOTS = 64;

  private final Decoder model;
  private final ModelUsers.Use use;
  private final int vocabSize;
  private final int[] draftIds;
  private final boolean[] isListed; // by id
  private final int first; // trunk branches below those here
  private final int hiddenSize;
  private final int width; // of a slot: between parallel branches the stream is twice as wide
  final TorchKeyValueCache cache;
  private final RetainedTensors[] outputs; // logits, by head
  private RetainedTensors retained = new RetainedTensors(); // the hidden states
  private Tensor hidden; // [slots, width]
  private int[] free = new int[FIRST_SLOTS];
  private int freeCount;
  private int taken; // slots that were ever taken

  /**
   * @param model whole, or one stage of a pipeline
   * @param pages of keys and values
   */
  public TorchRunner(Decoder model, Vocabulary vocabulary, int pages) {
    this.model = model;
    use = model.users().add();
    try {
      vocabSize = vocabulary.size();
      draftIds = vocabulary.draftIds().stream().mapToInt(Integer::intValue).toArray();
      isListed = UnlistedIds.listed(vocabulary);
      first = model.stages().getFirst().firstBranch();
      ModelConfig shape = model.architecture().model();
      hiddenSize = shape.hiddenSize();
      width = shape.residual() == Residual.PARALLEL ? 2 * hiddenSize : hiddenSize;
      outputs = new RetainedTensors[model.allHeads().size()];
      Arrays.setAll(outputs, _ -> new RetainedTensors());
      try (Scope _ = Scope.open();
          InferenceMode _ = new InferenceMode()) {
        // libtorch's attention in bfloat16 is slow on a CPU.
        ScalarType format = model.device().is_cpu() ? ScalarType.Float : model.scalarType();
        cache = new TorchKeyValueCache(pages, format);
        hidden = retained.retain(emptySlots(FIRST_SLOTS));
      }
    } catch (RuntimeException | Error e) {
      use.close();
      throw e;
    }
  }

  private Tensor emptySlots(long count) {
    return Tensors.zeros(model.scalarType(), model.device(), count, width);
  }

  @Override
  public Decoder model() {
    return model;
  }

  @Override
  public int pages() {
    return cache.pages();
  }

  @Override
  public int allocateSlot() {
    if (freeCount > 0) {
      freeCount--;
      return free[freeCount];
    }
    if (taken == hidden.size(0)) {
      grow();
    }
    return taken++;
  }

  private void grow() {
    try (Scope _ = Scope.open();
        InferenceMode _ = new InferenceMode()) {
      Tensor larger = emptySlots(2L * taken);
      larger.narrow(0, 0, taken).copy_(hidden);
      RetainedTensors next = new RetainedTensors();
      hidden = next.retain(larger);
      retained.close();
      retained = next;
    }
  }

  @Override
  public void release(int slot) {
    if (freeCount == free.length) {
      free = Arrays.copyOf(free, 2 * freeCount);
    }
    free[freeCount] = slot;
    freeCount++;
  }

  @Override
  public void copy(int from, int to) {
    try (Scope _ = Scope.open();
        InferenceMode _ = new InferenceMode()) {
      hidden.select(0, to).copy_(hidden.select(0, from));
    }
  }

  @Override
  public int hiddenBytes() {
    return width * Float.BYTES;
  }

  @Override
  public void read(int slot, byte[] to, int at) {
    try (Scope _ = Scope.open();
        InferenceMode _ = new InferenceMode()) {
      Tensor row = hidden.select(0, slot).to(ScalarType.Float).cpu();
      MemorySegment.copy(
          Tensors.bytes(row), 0, MemorySegment.ofArray(to), at, width * (long) Float.BYTES);
    }
  }

  @Override
  public void write(int slot, byte[] from, int at) {
    try (Scope _ = Scope.open();
        InferenceMode _ = new InferenceMode()) {
      float[] values = new float[width];
      MemorySegment.copy(
          MemorySegment.ofArray(from),
          at,
          MemorySegment.ofArray(values),
          0,
          width * (long) Float.BYTES);
      hidden.select(0, slot).copy_(Tensors.ofFloats(values, model.device(), width));
    }
  }

  @Override
  public void copyPage(int from, int to) {
    try (Scope _ = Scope.open();
        InferenceMode _ = new InferenceMode()) {
      cache.copyPage(from, to);
    }
  }

  @Override
  public void embed(ForwardBatch rows, int[] ids) {
    try (Scope _ = Scope.open();
        InferenceMode _ = new InferenceMode()) {
      int count = rows.rows();
      long[] wide = new long[count];
      Arrays.setAll(wide, row -> ids[row]);
      Tensor x = model.embedding().forward(onDevice(wide), positions(rows, 0, count));
      store(slots(rows, 0, count), x);
    }
  }

  @Override
  public void run(int from, int to, ForwardBatch rows) {
    List<Branch> branches = model.trunk().subList(from - first, to - first);
    if (branches.isEmpty()) {
      return;
    }
    try (InferenceMode _ = new InferenceMode()) {
      for (int row = 0; row < rows.rows(); row += MAX_ROWS) {
        int end = Math.min(rows.rows(), row + MAX_ROWS);
        try (Scope _ = Scope.open()) {
          Tensor slots = slots(rows, row, end);
          store(slots, through(branches, stream(slots, from), rows, row, end));
        }
      }
    }
  }

  @Override
  public void propagate(int from, int to, ForwardBatch rows) {
    try (InferenceMode _ = new InferenceMode()) {
      for (int row = 0; row < rows.rows(); row += MAX_ROWS) {
        int end = Math.min(rows.rows(), row + MAX_ROWS);
        try (Scope _ = Scope.open()) {
          Tensor x = stream(slots(rows, row, end), from).narrow(1, 0, hiddenSize);
          DecodeContext places = model.decodeContext(positions(rows, row, end));
          TorchAttention attention = new TorchAttention(cache, rows, row, end, model);
          for (Branch branch : model.trunk().subList(from - first, to - first)) {
            if (branch instanceof AttentionBranch past) {
              past.propagate(x, places, attention);
            }
          }
        }
      }
    }
  }

  @Override
  public HeadOutput predict(Head head, ForwardBatch rows, int[] asked, int count) {
    return logits(head, rows, asked, count);
  }

  @Override
  public HeadOutput draft(Head exit, ForwardBatch rows, int[] asked, int count) {
    if (draftIds.length == 0) {
      return predict(exit, rows, asked, count);
    }
    TorchLogits all = logits(exit, rows, asked, count);
    try (Scope _ = Scope.open();
        InferenceMode _ = new InferenceMode()) {
      TorchLogits listed = all.of(draftIds, outputs[exit.index()]);
      return new DraftOutput(listed, draftIds, vocabSize, new UnlistedIds(isListed, all::logits));
    }
  }

  /** Logits, which live until the head is asked again. */
  private TorchLogits logits(Head head, ForwardBatch rows, int[] asked, int count) {
    HeadLayers layers = layers(head);
    RetainedTensors output = outputs[head.index()];
    output.close();
    try (Scope _ = Scope.open();
        InferenceMode _ = new InferenceMode()) {
      Tensor x =
          layers.branches().isEmpty()
              ? stream(askedSlots(rows, asked, count), head.tap())
              : afterBranches(layers, rows).index_select(0, indices(asked, count));
      Tensor normed = layers.normed(x);
      Tensor logits = layers.logitsOfNormed(normed).narrow(1, 0, vocabSize).to(ScalarType.Float);
      return new TorchLogits(head, output.retain(logits), output.retain(normed));
    }
  }

  private HeadLayers layers(Head head) {
    for (HeadLayers layers : model.heads()) {
      if (layers.index() == head.index()) {
        return layers;
      }
    }
    throw new IllegalArgumentException(head.id() + " is not on this rank");
  }

  /** All rows behind a head's branches, [n, hidden]. */
  private Tensor afterBranches(HeadLayers layers, ForwardBatch rows) {
    List<Tensor> parts = new ArrayList<>();
    for (int row = 0; row < rows.rows(); row += MAX_ROWS) {
      int end = Math.min(rows.rows(), row + MAX_ROWS);
      try (Scope scope = Scope.open()) {
        Tensor x = stream(slots(rows, row, end), layers.tap());
        parts.add(scope.moveToOuter(through(layers.branches(), x, rows, row, end)));
      }
    }
    return Tensors.concatenate(parts);
  }

  /** Rows behind branches; of the scope that is open. */
  private Tensor through(
      List<Branch> branches, Tensor stream, ForwardBatch rows, int from, int to) {
    try (Scope scope = Scope.open();
        OwnedTensor x = new OwnedTensor(stream)) {
      DecodeContext places = model.decodeContext(positions(rows, from, to));
      TorchAttention attention = new TorchAttention(cache, rows, from, to, model);
      for (Branch branch : branches) {
        try (Scope _ = Scope.open()) {
          x.set(branch.path().add(x.get(), branch.generate(x.get(), places, attention)));
        }
      }
      return scope.moveToOuter(x.get());
    }
  }

  /** The stream in some slots after that many branches of the trunk, [n, its width there]. */
  private Tensor stream(Tensor slots, int branches) {
    boolean isWide = width > hiddenSize && branches % 2 == 1; // between attention and MLP
    return hidden.narrow(1, 0, isWide ? width : hiddenSize).index_select(0, slots);
  }

  private void store(Tensor slots, Tensor x) {
    hidden.narrow(1, 0, x.size(1)).index_copy_(0, slots, x);
  }

  private Tensor slots(ForwardBatch rows, int from, int to) {
    long[] slots = new long[to - from];
    Arrays.setAll(slots, i -> rows.slot(from + i));
    return onDevice(slots);
  }

  private Tensor askedSlots(ForwardBatch rows, int[] asked, int count) {
    long[] slots = new long[count];
    Arrays.setAll(slots, i -> rows.slot(asked[i]));
    return onDevice(slots);
  }

  private Tensor indices(int[] asked, int count) {
    long[] indices = new long[count];
    Arrays.setAll(indices, i -> asked[i]);
    return onDevice(indices);
  }

  private Tensor positions(ForwardBatch rows, int from, int to) {
    long[] positions = new long[to - from];
    Arrays.setAll(positions, i -> rows.position(from + i));
    return onDevice(positions);
  }

  private Tensor onDevice(long[] values) {
    return Tensors.ofLongs(values, model.device(), values.length);
  }

  @Override
  public void close() {
    retained.close();
    cache.close();
    for (RetainedTensors output : outputs) {
      output.close();
    }
    use.close();
  }
}
