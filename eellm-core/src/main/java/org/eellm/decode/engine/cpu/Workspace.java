package org.eellm.decode.engine.cpu;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.eellm.config.ModelConfig;
import org.eellm.kernel.PageLayout;
import org.eellm.kernel.PagedAttention;
import org.eellm.kernel.ScoreFunction;
import org.eellm.kernel.matmul.MatmulKernel;
import org.eellm.kernel.matmul.PackedInput;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeInts;
import org.eellm.kernel.weight.PackedMatrix;

/** The buffers that a pass works in, made once: those of all members, and each member's own. */
final class Workspace implements AutoCloseable {
  /** Rows that go through layers at once; more go in parts. */
  static final int MAX_ROWS = 256;

  /** So few rows each member norms for itself, which takes less time than to meet. */
  static final int OWN_ROWS = 8;

  /** Rows of one sequence whose queries attend together. */
  static final int ATTENTION_ROWS = 16;

  /** Blocks of outputs that a member computes at once, at most. */
  static final int ITEM_BLOCKS = 32;

  /** Blocks of outputs that a tile has room for at least: with {@code TILE_ROWS} rows. */
  static final int LEAST_TILE_BLOCKS = 8;

  private static final int TILE_ROWS = 64;

  final PackedInput normed; // [rows, hidden]
  final PackedInput headNormed; // the same for heads, whose matrices may have another format
  final PackedInput attentionOutput; // [rows, H D]
  final PackedInput ffnActivations; // [rows, ffn]
  final Optional<KernelExperts.Routing> routing; // of rows to experts
  final Optional<PackedInput> draftInput; // of a draft head's projection: [rows, 2 hidden]
  final Optional<NativeBuffer> embedded; // which it reads: [rows, hidden]
  final NativeBuffer qkv; // queries, keys, values: [rows, qkvWidth]
  final int qkvWidth;
  final NativeBuffer partial; // sums over this rank's inputs: [rows, partialWidth]
  final int partialWidth;
  final int group; // queries of a row that share keys and values
  final NativeInts limits; // positions that queries see: [rows, group]
  final KernelAdapters adapters;
  private final List<ThreadWorkspace> own = new ArrayList<>();

  /** Outputs of a product, some of its blocks for some of its rows; filled anew for each. */
  static final class OutputTile implements AutoCloseable {
    private final NativeBuffer memory =
        NativeBuffer.allocate(4L * TILE_ROWS * LEAST_TILE_BLOCKS * PackedMatrix.BLOCK);
    int firstBlock;
    int blocks;
    int firstRow;
    int rows;
    long rowBytes; // from a row to the next

    int roomForBlocks(int ofRows) {
      int all = TILE_ROWS * LEAST_TILE_BLOCKS;
      return Math.min(ITEM_BLOCKS, all / ofRows);
    }

    long address() {
      return memory.address();
    }

    long address(int row) {
      return memory.address() + row * rowBytes;
    }

    @Override
    public void close() {
      memory.close();
    }
  }

  /** A member's own buffers. */
  static final class ThreadWorkspace implements AutoCloseable {
    final PackedInput normed; // [OWN_ROWS, hidden]
    final PackedInput headNormed; // the same for heads
    final Optional<PackedInput> routerNormed; // the same for routers
    final FloatArray row;
    final FloatArray activations =
        FloatArray.allocate(ITEM_BLOCKS * PackedMatrix.BLOCK); // of a row
    final OutputTile tile = new OutputTile(); // of an item, before it is added to the stream
    final FloatArray heads; // of those that are normed together
    final PagedAttention.Queries queries = new PagedAttention.Queries();
    final NativeBuffer attended; // of each query: [ATTENTION_ROWS G, valueWidth]
    final PagedAttention attention;

    private ThreadWorkspace(ModelKernels kernels, ModelConfig shard, PageLayout layout) {
      int queryRows = ATTENTION_ROWS * (shard.numHeads() / shard.numKeyValueHeads());
      normed = kernels.layers().allocate(OWN_ROWS, shard.hiddenSize());
      headNormed = kernels.heads().allocate(OWN_ROWS, shard.hiddenSize());
      routerNormed =
          shard.experts().count() > 0
              ? Optional.of(kernels.routers().allocate(OWN_ROWS, shard.hiddenSize()))
              : Optional.empty();
      row = FloatArray.allocate(shard.hiddenSize());
      heads =
          FloatArray.allocate(
              shard.qkNormWhole() ? shard.numHeads() * shard.headDim() : shard.headDim());
      attended = NativeBuffer.allocate(4L * queryRows * layout.valueWidth());
      ModelConfig.Attention any = shard.attention(0); // all have the same scores
      attention =
          PagedAttention.fastest(
              layout, new ScoreFunction((float) any.scale(), (float) any.softcap()));
    }

    @Override
    public void close() {
      normed.close();
      headNormed.close();
      routerNormed.ifPresent(PackedInput::close);
      tile.close();
      attended.close();
      attention.close();
    }
  }

  /**
   * @param shard the model's shape with this rank's part of heads, MLP and experts
   * @param drafts whether a draft head is among the branches
   */
  Workspace(
      int members,
      ModelKernels kernels,
      ModelConfig shard,
      PageLayout layout,
      KernelAdapters.Packed changes,
      boolean drafts) {
    int heads = shard.numHeads() + 2 * shard.numKeyValueHeads();
    MatmulKernel kernel = kernels.layers();
    normed = kernel.allocate(MAX_ROWS, shard.hiddenSize());
    headNormed = kernels.heads().allocate(MAX_ROWS, shard.hiddenSize());
    attentionOutput = kernel.allocate(MAX_ROWS, shard.numHeads() * shard.headDim());
    ffnActivations = kernel.allocate(MAX_ROWS, shard.ffnHiddenSize());
    routing =
        shard.experts().count() > 0
            ? Optional.of(new KernelExperts.Routing(kernels, shard))
            : Optional.empty();
    draftInput =
        drafts ? Optional.of(kernel.allocate(MAX_ROWS, 2 * shard.hiddenSize())) : Optional.empty();
    embedded =
        drafts
            ? Optional.of(NativeBuffer.allocate(4L * MAX_ROWS * shard.hiddenSize()))
            : Optional.empty();
    qkvWidth = padded(heads * shard.headDim());
    qkv = NativeBuffer.allocate(4L * MAX_ROWS * qkvWidth);
    partialWidth = padded(shard.hiddenSize());
    partial = NativeBuffer.allocate(4L * MAX_ROWS * partialWidth);
    group = shard.numHeads() / shard.numKeyValueHeads();
    limits = new NativeInts(MAX_ROWS * group);
    for (int i = 0; i < members; i++) {
      own.add(new ThreadWorkspace(kernels, shard, layout));
    }
    adapters = new KernelAdapters(changes, kernels, normed.groupRows(), members);
    if (!adapters.isEmpty()) {
      normed.keep();
      attentionOutput.keep();
      ffnActivations.keep();
      own.forEach(each -> each.normed.keep());
    }
  }

  static int padded(int width) {
    return Math.ceilDiv(width, PackedMatrix.BLOCK) * PackedMatrix.BLOCK;
  }

  /** Forgets what a failed pass left undone. */
  void forget() {
    for (int i = 0; i < own.size(); i++) {
      own.get(i).attention.forget();
    }
  }

  /** Address of a row's queries, keys and values, from a column on. */
  long qkv(int row, int column) {
    return qkv.address() + 4L * ((long) row * qkvWidth + column);
  }

  /** Address of a row's sums over this rank's inputs. */
  long partial(int row) {
    return partial.address() + 4L * row * partialWidth;
  }

  ThreadWorkspace own(int member) {
    return own.get(member);
  }

  @Override
  public void close() {
    normed.close();
    headNormed.close();
    attentionOutput.close();
    ffnActivations.close();
    routing.ifPresent(KernelExperts.Routing::close);
    draftInput.ifPresent(PackedInput::close);
    embedded.ifPresent(NativeBuffer::close);
    qkv.close();
    partial.close();
    limits.close();
    own.forEach(ThreadWorkspace::close);
    adapters.close();
  }
}
