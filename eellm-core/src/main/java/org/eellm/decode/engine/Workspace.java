package org.eellm.decode.engine;

import java.util.ArrayList;
import java.util.List;
import org.eellm.config.ModelConfig;
import org.eellm.kernel.PageLayout;
import org.eellm.kernel.PagedAttention;
import org.eellm.kernel.product.Activations;
import org.eellm.kernel.product.ProductKernel;
import org.eellm.kernel.vector.NativeBuffer;
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
  static final int ITEM_BLOCKS = 8;

  private static final int TILE_ROWS = 64 + ProductKernel.ROWS_BEYOND;

  final Activations normed; // [rows, hidden]
  final Activations headNormed; // the same for heads, whose matrices may have another format
  final Activations mixed; // [rows, H D]
  final Activations active; // [rows, ffn]
  final NativeBuffer fused; // queries, keys, values: [rows, fusedWidth]
  final int fusedWidth;
  final NativeBuffer partial; // sums over this rank's inputs: [rows, partialWidth]
  final int partialWidth;
  private final List<Own> own = new ArrayList<>();

  /** What a member has for itself. */
  static final class Own implements AutoCloseable {
    final Activations normed; // [OWN_ROWS, hidden]
    final Activations headNormed; // the same for heads
    final float[] row;
    final float[] block = new float[PackedMatrix.BLOCK];
    final NativeBuffer tile = // outputs of an item, before they are added to the stream
        NativeBuffer.allocate(4L * TILE_ROWS * ITEM_BLOCKS * PackedMatrix.BLOCK);
    final float[] queries; // [ATTENTION_ROWS G, D]
    final float[] mixture; // of the same shape
    final float[] key; // [D]
    final int[] limits; // of the queries
    final PagedAttention attention;

    private Own(Kernels kernels, ModelConfig shard, PageLayout layout) {
      int queryRows = ATTENTION_ROWS * (shard.numHeads() / shard.numKeyValueHeads());
      normed = kernels.layers().allocate(OWN_ROWS, shard.hiddenSize());
      headNormed = kernels.heads().allocate(OWN_ROWS, shard.hiddenSize());
      row = new float[shard.hiddenSize()];
      queries = new float[queryRows * shard.headDim()];
      mixture = new float[queries.length];
      key = new float[shard.headDim()];
      limits = new int[queryRows];
      attention = new PagedAttention(layout);
    }

    @Override
    public void close() {
      normed.close();
      headNormed.close();
      tile.close();
      attention.close();
    }
  }

  /**
   * @param shard the model's shape with this rank's part of heads and MLP
   */
  Workspace(int members, Kernels kernels, ModelConfig shard, PageLayout layout) {
    int rows = MAX_ROWS + ProductKernel.ROWS_BEYOND;
    int heads = shard.numHeads() + 2 * shard.numKeyValueHeads();
    ProductKernel kernel = kernels.layers();
    normed = kernel.allocate(MAX_ROWS, shard.hiddenSize());
    headNormed = kernels.heads().allocate(MAX_ROWS, shard.hiddenSize());
    mixed = kernel.allocate(MAX_ROWS, shard.numHeads() * shard.headDim());
    active = kernel.allocate(MAX_ROWS, shard.ffnHiddenSize());
    fusedWidth = padded(heads * shard.headDim());
    fused = NativeBuffer.allocate(4L * rows * fusedWidth);
    partialWidth = padded(shard.hiddenSize());
    partial = NativeBuffer.allocate(4L * rows * partialWidth);
    for (int i = 0; i < members; i++) {
      own.add(new Own(kernels, shard, layout));
    }
  }

  private static int padded(int width) {
    return Math.ceilDiv(width, PackedMatrix.BLOCK) * PackedMatrix.BLOCK;
  }

  Own own(int member) {
    return own.get(member);
  }

  @Override
  public void close() {
    normed.close();
    headNormed.close();
    mixed.close();
    active.close();
    fused.close();
    partial.close();
    own.forEach(Own::close);
  }
}
