package org.eellm.decode.engine.cpu;

import java.util.List;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.decode.engine.ForwardProfiler.Part;
import org.eellm.kernel.machine.ThreadTeam.Member;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.matmul.PackedInput;
import org.eellm.kernel.row.RowKernel;
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
}
