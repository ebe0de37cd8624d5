package org.eellm.decode.engine.cpu;

import java.util.Optional;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.decode.engine.ForwardProfiler.Part;
import org.eellm.kernel.PageLayout;
import org.eellm.kernel.machine.ThreadTeam.Member;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.matmul.PackedInput;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.weight.PackedMatrix;

/**
 * A residual branch as all members of a team run it: a few phases of products, and what is between
 * them. The same as {@link org.eellm.model.Branch#generate}, with sums in float32.
 */
sealed interface KernelBranch
    permits KernelBranch.Attention, KernelBranch.Mlp, KernelBranch.DraftInput, KernelExperts {

  /** Bytes of its matrices that so many rows read, at most. */
  long bytes(int rows);

  void run(Member member, KernelExecutor pass);

  /**
   * Attention.
   *
   * @param bias of queries, keys and values
   * @param norms of queries and keys
   * @param shape with this rank's heads
   * @param slot which attention's pages
   */
  record Attention(
      KernelNorm norm,
      PackedMatrix qkv,
      Optional<FloatArray> bias,
      Optional<KernelHeadNorms> norms,
      PackedMatrix output,
      KernelExecutor.Residual residual,
      ModelConfig.Attention shape,
      LayerType type,
      ModelConfig.Residual path,
      int slot)
      implements KernelBranch {

    @Override
    public long bytes(int rows) {
      return qkv.bytes() + output.bytes();
    }

    @Override
    public void run(Member member, KernelExecutor pass) {
      Workspace space = pass.workspace();
      multiply(member, pass);
      int heads = shape.keyValueHeads();
      if (pass.attendsInParts()) {
        writeKeysAndValues(member, pass);
      }
      member.begin(pass.tiles() * heads);
      for (int i = member.next(); i >= 0; i = member.next()) {
        int tile = i / heads;
        if (!pass.attendsInParts()) {
          writeKeysAndValues(member, pass, pass.tileStart(tile), pass.tileEnd(tile), i % heads);
        }
        attend(member, pass, tile, i % heads);
      }
      member.end();
      pass.profiler().mark(member, Part.ATTENTION);
      if (path == ModelConfig.Residual.PARALLEL) {
        pass.saveInput(member); // the MLP reads what attention has read
      }
      pass.addProduct(member, output, space.attentionOutput, residual);
      pass.profiler().mark(member, Part.OUTPUT_PRODUCTS);
    }

    /** Writes the keys and values of rows that do not pass. */
    void propagate(Member member, KernelExecutor pass) {
      multiply(member, pass);
      writeKeysAndValues(member, pass);
      pass.profiler().mark(member, Part.ATTENTION);
    }

    private void multiply(Member member, KernelExecutor pass) {
      Workspace space = pass.workspace();
      PackedInput normed = pass.normed(member, norm, 0);
      pass.product(member, qkv, normed, space.qkv.address(), space.qkvWidth);
      pass.profiler().mark(member, Part.QKV_PRODUCTS);
      if (normsTogether()) {
        normTogether(norms.orElseThrow(), member, pass);
      }
    }

    private boolean normsTogether() {
      return norms.isPresent() && norms.get().together();
    }

    /** Norms rows' queries and keys, of all heads together. */
    private void normTogether(KernelHeadNorms norms, Member member, KernelExecutor pass) {
      Workspace space = pass.workspace();
      FloatArray scratch = space.own(member.index()).heads;
      int keys = shape.queryWidth(); // where they begin
      long sums = space.partial.address();
      member.begin(pass.rows());
      for (int row = member.next(); row >= 0; row = member.next()) {
        long at = space.qkv(row, 0);
        addBias(at, 0, keys + shape.keyValueWidth());
        if (pass.ranks() == 1) {
          norms.apply(at, at + 4L * keys, scratch);
        } else {
          norms.sum(at, at + 4L * keys, sums + (long) KernelHeadNorms.SUM_BYTES * row, scratch);
        }
      }
      member.end();
      if (pass.ranks() == 1) {
        return;
      }
      pass.sumOverRanks(member, sums, (long) KernelHeadNorms.SUM_BYTES / Float.BYTES * pass.rows());
      member.begin(pass.rows());
      for (int row = member.next(); row >= 0; row = member.next()) {
        long at = space.qkv(row, 0);
        long ofRow = sums + (long) KernelHeadNorms.SUM_BYTES * row;
        norms.apply(at, at + 4L * keys, ofRow, pass.ranks());
      }
      member.end();
    }

    private void writeKeysAndValues(Member member, KernelExecutor pass) {
      int heads = shape.keyValueHeads();
      member.begin(pass.ranges() * heads);
      for (int i = member.next(); i >= 0; i = member.next()) {
        int range = i / heads;
        writeKeysAndValues(member, pass, pass.start(range), pass.end(range), i % heads);
        pass.workspace().own(member.index()).attention.finish();
      }
      member.end();
    }

    /** Makes the keys and values of rows, and lets them be written to their pages. */
    private void writeKeysAndValues(
        Member member, KernelExecutor pass, int from, int to, int head) {
      Workspace space = pass.workspace();
      Workspace.ThreadWorkspace own = space.own(member.index());
      int width = shape.headDim();
      int keyAt = (shape.heads() + head) * width;
      int valueAt = keyAt + shape.keyValueHeads() * width;
      long first = pass.memory().head(slot, head);
      RotaryTable rotation = pass.rotation(type);
      for (int row = from; row < to; row++) {
        long key = space.qkv(row, keyAt);
        long value = space.qkv(row, valueAt);
        if (!normsTogether()) {
          addBias(key, keyAt, width);
          if (norms.isPresent()) {
            normHeads(norms.get().key(), key, 1, own.heads);
          }
        }
        addBias(value, valueAt, width);
        int position = pass.position(row);
        rotation.rotate(own.attention, key, position);
        int page = pass.pages(row).get(position / PageLayout.POSITIONS);
        own.attention.write(
            first + page * pass.memory().pageBytes(), position % PageLayout.POSITIONS, key, value);
      }
    }

    private void normHeads(KernelNorm norm, long at, int heads, FloatArray scratch) {
      for (int head = 0; head < heads; head++) {
        norm.applyInPlace(at + 4L * head * shape.headDim(), scratch);
      }
    }

    private void addBias(long at, int column, int count) {
      if (bias.isPresent()) {
        RowKernel.chosen().add(bias.get(), column, at, count);
      }
    }

    /** Lets the queries of a tile's rows attend, those of one head of keys and values. */
    private void attend(Member member, KernelExecutor pass, int tile, int head) {
      Workspace space = pass.workspace();
      Workspace.ThreadWorkspace own = space.own(member.index());
      int width = shape.headDim();
      int group = space.group;
      int column = head * group * width;
      int start = pass.tileStart(tile);
      int end = pass.tileEnd(tile);
      RotaryTable rotation = pass.rotation(type);
      for (int row = start; row < end; row++) {
        long queries = space.qkv(row, column);
        if (!normsTogether()) {
          addBias(queries, column, group * width);
          if (norms.isPresent()) {
            normHeads(norms.get().query(), queries, group, own.heads);
          }
        }
        for (int g = 0; g < group; g++) {
          rotation.rotate(own.attention, queries + 4L * g * width, pass.position(row));
        }
      }
      own.attention.attend(
          pass.pages(start),
          pass.memory().head(slot, head),
          pass.memory().pageBytes(),
          own.queries.at(space.qkv(start, column), 4L * space.qkvWidth, end - start, group),
          space.limits,
          start * group,
          shape.window(),
          own.attended.address());
      int outWidth = pass.memory().layout().valueWidth();
      int together = outWidth == width ? group : 1; // heads that follow each other
      for (int row = start; row < end; row++) {
        for (int g = 0; g < group; g += together) {
          long from = own.attended.address() + 4L * ((row - start) * group + g) * outWidth;
          space.attentionOutput.put(row, column + g * width, from, together * width);
        }
      }
    }
  }

  /**
   * An MLP.
   *
   * @param up blocks of gate and up in turn where there is a gate, else up alone
   */
  record Mlp(
      KernelNorm norm,
      PackedMatrix up,
      Optional<FloatArray> gateBias,
      Optional<FloatArray> upBias,
      PackedMatrix down,
      KernelExecutor.Residual residual,
      Activation activation,
      ModelConfig.Residual path)
      implements KernelBranch, KernelExecutor.Sink {

    @Override
    public long bytes(int rows) {
      return up.bytes() + down.bytes();
    }

    @Override
    public void run(Member member, KernelExecutor pass) {
      int input = path == ModelConfig.Residual.PARALLEL ? 1 : 0;
      PackedInput normed = pass.normed(member, norm, input);
      pass.product(member, up, normed, blocksEach(), this);
      pass.profiler().mark(member, Part.MLP_PRODUCTS);
      pass.addProduct(member, down, pass.workspace().ffnActivations, residual);
      pass.profiler().mark(member, Part.DOWN_PRODUCTS);
    }

    /** Blocks that go together: gate and up, or up alone. */
    private int blocksEach() {
      return activation.gated() ? 2 : 1;
    }

    @Override
    public void write(KernelExecutor pass, Workspace.ThreadWorkspace own) {
      Workspace.OutputTile tile = own.tile;
      PackedInput ffnActivations = pass.workspace().ffnActivations;
      int each = blocksEach();
      int column = tile.firstBlock / each * PackedMatrix.BLOCK;
      int count = Math.min(tile.blocks / each * PackedMatrix.BLOCK, ffnActivations.in() - column);
      for (int row = 0; row < tile.rows; row++) {
        activate(tile.address(row), column, count, own.activations);
        ffnActivations.put(tile.firstRow + row, column, own.activations, 0, count);
      }
    }

    private void activate(long at, int column, int count, FloatArray out) {
      if (gateBias.isPresent()) {
        addToBlocks(gateBias.get(), column, at, count);
        addToBlocks(upBias.orElseThrow(), column, at + 4L * PackedMatrix.BLOCK, count);
      } else if (upBias.isPresent()) {
        RowKernel.chosen().add(upBias.get(), column, at, count);
      }
      activate(activation, at, count, out);
    }

    /** Activations of outputs of {@code up}, by the address of the first. */
    static void activate(Activation activation, long at, int count, FloatArray out) {
      switch (activation) {
        case SWIGLU -> RowKernel.chosen().swiGlu(at, count, out);
        case GEGLU_TANH -> RowKernel.chosen().geGluTanh(at, count, out);
        case GELU -> RowKernel.chosen().gelu(at, count, out);
        case GELU_TANH -> RowKernel.chosen().geluTanh(at, count, out);
      }
    }

    private static void addToBlocks(FloatArray bias, int column, long first, int count) {
      for (int i = 0; i < count; i += PackedMatrix.BLOCK) {
        int ofBlock = Math.min(PackedMatrix.BLOCK, count - i);
        RowKernel.chosen().add(bias, column + i, first + 8L * i, ofBlock);
      }
    }
  }

  /**
   * What is before a draft head's layer: {@code W [norm(h), norm(e)]} takes the place of h, the
   * stream, with e of {@link Workspace#embedded}. The same as {@link org.eellm.model.DraftHead}.
   *
   * @param hiddenNorm on h
   * @param embeddingNorm on e
   * @param projection W
   */
  record DraftInput(KernelNorm hiddenNorm, KernelNorm embeddingNorm, PackedMatrix projection)
      implements KernelBranch, KernelExecutor.Sink {

    @Override
    public long bytes(int rows) {
      return projection.bytes();
    }

    @Override
    public void run(Member member, KernelExecutor pass) {
      Workspace space = pass.workspace();
      PackedInput both = space.draftInput.orElseThrow();
      long embedded = space.embedded.orElseThrow().address();
      FloatArray normed = space.own(member.index()).row;
      int hidden = hiddenNorm.width();
      member.begin(pass.rows());
      for (int row = member.next(); row >= 0; row = member.next()) {
        hiddenNorm.apply(pass.stream(row), normed);
        both.put(row, 0, normed, 0, hidden);
        embeddingNorm.apply(embedded + 4L * row * hidden, normed);
        both.put(row, hidden, normed, 0, hidden);
      }
      member.end();
      pass.profiler().mark(member, Part.NORMS);
      pass.product(member, projection, both, 1, this);
      pass.profiler().mark(member, Part.OUTPUT_PRODUCTS);
    }

    /** Outputs take the place of the stream, which all have read. */
    @Override
    public void write(KernelExecutor pass, Workspace.ThreadWorkspace own) {
      Workspace.OutputTile tile = own.tile;
      int column = tile.firstBlock * PackedMatrix.BLOCK;
      int width = Math.min(tile.blocks * PackedMatrix.BLOCK, hiddenNorm.width() - column);
      for (int row = 0; row < tile.rows; row++) {
        long to = pass.stream(tile.firstRow + row) + 4L * column;
        FloatArithmetic.copy(tile.address(row), to, width);
      }
    }
  }
}
