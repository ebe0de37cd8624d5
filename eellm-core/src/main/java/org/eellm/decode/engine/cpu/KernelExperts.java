package org.eellm.decode.engine.cpu;

import java.util.Arrays;
import java.util.List;
import org.eellm.config.Experts;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.decode.engine.ForwardProfiler.Part;
import org.eellm.kernel.machine.ThreadTeam.Member;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.matmul.PackedInput;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.PackedMatrix;

/**
 * An MLP of experts. Rows are sorted by the experts that they go to, so that a matrix is read once
 * for all of them. What becomes of a row follows from that row alone: its scores, products that are
 * the same to the bit whatever rows are beside it, and sums in the order of its choices.
 *
 * @param router in float32, whatever format the experts have
 * @param experts of one size
 * @param perToken how many of them a row goes through
 */
record KernelExperts(
    KernelNorm norm,
    PackedMatrix router,
    List<Expert> experts,
    KernelExecutor.Residual residual,
    int perToken,
    Activation activation,
    ModelConfig.Residual path)
    implements KernelBranch {

  /**
   * @param up blocks of gate and up in turn
   */
  record Expert(PackedMatrix up, PackedMatrix down) {}

  KernelExperts {
    experts = List.copyOf(experts);
  }

  @Override
  public long bytes(int rows) {
    Expert any = experts.getFirst();
    return router.bytes() + (long) read(rows) * (any.up.bytes() + any.down.bytes());
  }

  /** How many experts so many rows go through, at most. */
  private int read(int rows) {
    return Math.min(rows * perToken, experts.size());
  }

  @Override
  public void run(Member member, KernelExecutor pass) {
    route(member, pass);
    up(member, pass);
    pass.profiler().mark(member, Part.MLP_PRODUCTS);
    down(member, pass);
    sum(member, pass);
    pass.addPartial(member, residual);
    pass.profiler().mark(member, Part.DOWN_PRODUCTS);
  }

  /** Scores experts, chooses some for each row, and sorts the rows by them. */
  private void route(Member member, KernelExecutor pass) {
    Routing routing = pass.workspace().routing.orElseThrow();
    Workspace.ThreadWorkspace own = pass.workspace().own(member.index());
    int half = path == ModelConfig.Residual.PARALLEL ? 1 : 0;
    PackedInput normed =
        pass.normed(member, norm, half, own.routerNormed.orElseThrow(), routing.normed);
    pass.product(member, router, normed, routing.scores(0), routing.scoreWidth);
    member.begin(pass.rows());
    for (int row = member.next(); row >= 0; row = member.next()) {
      routing.choose(row);
    }
    member.end();
    member.begin(1);
    for (int i = member.next(); i >= 0; i = member.next()) {
      routing.sort(pass.rows());
    }
    member.end();
    member.begin(pass.rows());
    for (int row = member.next(); row >= 0; row = member.next()) {
      pass.norm(norm, row, half, own.row);
      routing.put(row, own.row);
    }
    member.end();
  }

  /**
   * The items of a phase are those of as many experts as there may be, not as there are: a member
   * that comes late counts them, too, when the numbers are another layer's.
   */
  private void up(Member member, KernelExecutor pass) {
    Routing routing = pass.workspace().routing.orElseThrow();
    PackedMatrix any = experts.getFirst().up;
    int each = pass.itemBlocks(any, 2);
    int items = Math.ceilDiv(any.blocks(), each);
    member.begin(read(pass.rows()) * items);
    for (int i = member.next(); i >= 0; i = member.next()) {
      if (i / items < routing.present()) {
        up(pass.workspace().own(member.index()), routing, i / items, i % items * each, each);
      }
    }
    member.end();
  }

  private void up(
      Workspace.ThreadWorkspace own, Routing routing, int index, int block, int blocks) {
    PackedMatrix w = experts.get(routing.expert(index)).up;
    PackedInput x = routing.sorted;
    int there = Math.min(blocks, w.blocks() - block);
    int column = block / 2 * PackedMatrix.BLOCK;
    int count = Math.min(there / 2 * PackedMatrix.BLOCK, routing.activations.in() - column);
    Workspace.OutputTile tile = own.tile;
    tile.rowBytes = 4L * blocks * PackedMatrix.BLOCK;
    int end = routing.end(index);
    for (int first = routing.start(index); first < end; first += x.groupRows()) {
      int rows = Math.min(x.groupRows(), end - first);
      x.kernel().multiply(w, block, there, x, first, rows, tile.address(), tile.rowBytes);
      for (int row = 0; row < rows; row++) {
        Mlp.activate(activation, tile.address(row), count, own.activations);
        routing.activations.put(first + row, column, own.activations, 0, count);
      }
    }
  }

  private void down(Member member, KernelExecutor pass) {
    Routing routing = pass.workspace().routing.orElseThrow();
    PackedMatrix any = experts.getFirst().down;
    int each = pass.itemBlocks(any, 1);
    int items = Math.ceilDiv(any.blocks(), each);
    member.begin(read(pass.rows()) * items);
    for (int i = member.next(); i >= 0; i = member.next()) {
      if (i / items < routing.present()) {
        down(routing, i / items, i % items * each, each);
      }
    }
    member.end();
  }

  private void down(Routing routing, int index, int block, int blocks) {
    PackedMatrix w = experts.get(routing.expert(index)).down;
    PackedInput x = routing.activations;
    int there = Math.min(blocks, w.blocks() - block);
    int end = routing.end(index);
    for (int first = routing.start(index); first < end; first += x.groupRows()) {
      int rows = Math.min(x.groupRows(), end - first);
      long to = routing.output(first) + 4L * block * PackedMatrix.BLOCK;
      x.kernel().multiply(w, block, there, x, first, rows, to, 4L * routing.outputWidth);
    }
  }

  /** Adds up the outputs of each row's experts, times their weights. */
  private void sum(Member member, KernelExecutor pass) {
    Routing routing = pass.workspace().routing.orElseThrow();
    int width = router.in();
    member.begin(pass.rows());
    for (int row = member.next(); row >= 0; row = member.next()) {
      long to = pass.workspace().partial(row);
      for (int choice = 0; choice < perToken; choice++) {
        long from = routing.output(row, choice);
        RowKernel.chosen().multiply(from, width, routing.weight(row, choice));
        if (choice == 0) {
          FloatArithmetic.copy(from, to, width);
        } else {
          RowKernel.chosen().add(from, to, width);
        }
      }
    }
    member.end();
  }

  /**
   * Which experts the rows of a pass go to, and the buffers of their way there and back. A row has
   * as many choices as it goes through experts, the best first; sorted by expert, all choices of an
   * expert follow each other.
   */
  static final class Routing implements AutoCloseable {
    private final Experts experts;
    final PackedInput normed; // for the router: [rows, hidden]
    private final NativeBuffer scores; // [rows, scoreWidth]
    final int scoreWidth;
    final PackedInput sorted; // [choices, hidden]
    final PackedInput activations; // [choices, inner width]
    private final NativeBuffer outputs; // [choices, outputWidth]
    final int outputWidth;
    private final int[] chosen; // experts, [rows, per token]
    private final float[] weights; // the same
    private final int[] places; // the same, among the sorted
    private final int[] next; // the place of an expert's next choice
    private final int[] withRows; // experts that have rows
    private final int[] starts; // of their choices
    private int present; // how many have rows

    /**
     * @param shard the model's shape with this rank's part of experts
     */
    Routing(ModelKernels kernels, ModelConfig shard) {
      experts = shard.experts();
      int choices = Workspace.MAX_ROWS * experts.perToken();
      normed = kernels.routers().allocate(Workspace.MAX_ROWS, shard.hiddenSize());
      scoreWidth = Workspace.padded(experts.count());
      scores = NativeBuffer.allocate(4L * Workspace.MAX_ROWS * scoreWidth);
      sorted = kernels.layers().allocate(choices, shard.hiddenSize());
      activations = kernels.layers().allocate(choices, experts.hiddenSize());
      outputWidth = Workspace.padded(shard.hiddenSize());
      outputs = NativeBuffer.allocate(4L * choices * outputWidth);
      chosen = new int[choices];
      weights = new float[choices];
      places = new int[choices];
      next = new int[experts.count()];
      withRows = new int[experts.count()];
      starts = new int[experts.count() + 1];
    }

    void begin(int rows) {
      normed.begin(rows);
      sorted.begin(rows * experts.perToken());
      activations.begin(rows * experts.perToken());
    }

    long scores(int row) {
      return scores.address() + 4L * row * scoreWidth;
    }

    /** Chooses a row's experts by its scores, and weighs them; of equals the first. */
    void choose(int row) {
      int first = row * experts.perToken();
      int end = first;
      for (int expert = 0; expert < experts.count(); expert++) {
        float score = NativeNumbers.getFloat(scores(row) + 4L * expert);
        if (end < first + experts.perToken()) {
          end++;
        } else if (!(score > weights[end - 1])) {
          continue;
        }
        int at = end - 1;
        for (; at > first && score > weights[at - 1]; at--) {
          chosen[at] = chosen[at - 1];
          weights[at] = weights[at - 1];
        }
        chosen[at] = expert;
        weights[at] = score;
      }
      weigh(row, first, end);
    }

    /** The softmax of all scores, or of the chosen ones. */
    private void weigh(int row, int first, int end) {
      float largest = weights[first];
      double sum = 0;
      if (experts.normWeights()) {
        for (int i = first; i < end; i++) {
          sum += Math.exp(weights[i] - largest);
        }
      } else {
        for (int expert = 0; expert < experts.count(); expert++) {
          sum += Math.exp(NativeNumbers.getFloat(scores(row) + 4L * expert) - largest);
        }
      }
      for (int i = first; i < end; i++) {
        weights[i] = (float) (Math.exp(weights[i] - largest) / sum);
      }
    }

    void sort(int rows) {
      int count = rows * experts.perToken();
      Arrays.fill(next, 0);
      for (int i = 0; i < count; i++) {
        next[chosen[i]]++;
      }
      present = 0;
      int start = 0;
      for (int expert = 0; expert < experts.count(); expert++) {
        int own = next[expert];
        next[expert] = start;
        if (own > 0) {
          withRows[present] = expert;
          starts[present++] = start;
          start += own;
        }
      }
      starts[present] = start;
      for (int i = 0; i < count; i++) {
        places[i] = next[chosen[i]]++;
      }
    }

    void put(int row, FloatArray values) {
      for (int choice = 0; choice < experts.perToken(); choice++) {
        int place = places[row * experts.perToken() + choice];
        sorted.put(place, 0, values, 0, sorted.in());
      }
    }

    int present() {
      return present;
    }

    int expert(int index) {
      return withRows[index];
    }

    /** The first choice of the expert of an index, among the sorted. */
    int start(int index) {
      return starts[index];
    }

    /** The one behind its last. */
    int end(int index) {
      return starts[index + 1];
    }

    float weight(int row, int choice) {
      return weights[row * experts.perToken() + choice];
    }

    /** Address of what an expert gives for a choice among the sorted. */
    long output(int place) {
      return outputs.address() + 4L * place * outputWidth;
    }

    long output(int row, int choice) {
      return output(places[row * experts.perToken() + choice]);
    }

    @Override
    public void close() {
      normed.close();
      scores.close();
      sorted.close();
      activations.close();
      outputs.close();
    }
  }
}
