package org.eellm.decode;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.eellm.config.ModelConfig;
import org.eellm.config.SettingException;
import org.eellm.decode.cache.PagePool;
import org.eellm.decode.cache.PageTable;
import org.eellm.decode.cache.PrefixCache;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Job;

/**
 * Takes texts through a model's lower layers and tells their hidden states, a block at a time, so
 * that texts which are being generated go on between two blocks. No head runs. For one thread.
 */
final class HiddenStateReader {
  private final ModelRunner runner;
  private final PagePool pool;
  private final PrefixCache prefixes;
  private final PromptScheduler scheduler;
  private final Deque<HiddenStateJob> queue = new ArrayDeque<>();
  private final List<Started> started = new ArrayList<>();
  private final ForwardBatch block = new ForwardBatch();
  private final List<Started> inBlock = new ArrayList<>();
  private byte[] bytes = {};
  private float[] state = {};

  /** A text in work. */
  private static final class Started {
    private final HiddenStateJob job;
    private final PageTable pageTable;
    private int done; // positions that have been told
    private int count; // positions in the block

    Started(HiddenStateJob job, PageTable pageTable) {
      this.job = job;
      this.pageTable = pageTable;
    }

    boolean ended() {
      return job.end().isDone();
    }
  }

  /**
   * @param prefixes which gives up pages of earlier texts where there is no room
   * @param scheduler of its own, for no head runs
   */
  HiddenStateReader(
      ModelRunner runner, PagePool pool, PrefixCache prefixes, PromptScheduler scheduler) {
    this.runner = runner;
    this.pool = pool;
    this.prefixes = prefixes;
    this.scheduler = scheduler;
  }

  /**
   * A text that can be done.
   *
   * @throws GenerateException if it fits neither model nor memory
   * @throws SettingException if the model has no such layer
   */
  HiddenStateJob job(List<Integer> ids, int layer, HiddenStateListener listener) {
    ModelConfig shape = runner.model().architecture().model();
    if (layer < 1 || layer > shape.numLayers()) {
      throw new SettingException(
          "layer",
          "%d is outside the model's layers; use 1 to %d".formatted(layer, shape.numLayers()));
    }
    Job.requireText(shape, ids, "the text");
    if (PagePool.pages(ids.size()) > pool.size()) {
      throw new GenerateException(
          "the text has %d tokens, but there is memory for keys and values of %d; shorten it, or use a larger cache"
              .formatted(ids.size(), pool.size() * ModelRunner.PAGE));
    }
    return new HiddenStateJob(ids, layer, listener, new CompletableFuture<>());
  }

  /** Puts a text at the end of the queue. */
  void add(HiddenStateJob job) {
    bytes = new byte[runner.hiddenBytes()];
    state = new float[runner.model().architecture().model().hiddenSize()];
    queue.add(job);
  }

  boolean isIdle() {
    return queue.isEmpty() && started.isEmpty();
  }

  /**
   * Starts as many texts as a block takes.
   *
   * @return whether all that the next block could take have room; if not, nobody else may take the
   *     room that comes free, or a long text would wait for ever
   */
  boolean admit() {
    if (isIdle()) {
      return true;
    }
    queue.removeIf(job -> job.end().isDone());
    removeEnded();
    int rows = 0;
    for (Started text : started) {
      rows += text.job.ids().size() - text.done;
    }
    while (!queue.isEmpty() && rows < Batch.PROMPT_ROWS) {
      HiddenStateJob job = queue.peek();
      int pages = PagePool.pages(job.ids().size());
      prefixes.evictUntilFree(pages);
      if (pool.free() < pages) {
        return false;
      }
      queue.remove();
      started.add(new Started(job, new PageTable(pool, pool.allocate(pages))));
      rows += job.ids().size();
    }
    return true;
  }

  /**
   * Runs one block of the texts that are asked for the same layer as the first.
   *
   * @param isAlone whether no text is being generated
   */
  void step(boolean isAlone) {
    if (started.isEmpty()) {
      return;
    }
    long start = System.nanoTime();
    fill(scheduler.rows(isAlone));
    try {
      runner.embed(block, ids());
      runner.run(0, 2 * inBlock.getFirst().job.layer(), block);
      for (int range = 0; range < inBlock.size(); range++) {
        tell(inBlock.get(range), block.start(range));
      }
    } catch (RuntimeException e) {
      inBlock.forEach(text -> text.job.end().completeExceptionally(e));
    } finally {
      for (int row = 0; row < block.rows(); row++) {
        runner.release(block.slot(row));
      }
    }
    scheduler.learn(block.rows(), (System.nanoTime() - start) / 1e9);
    removeEnded();
  }

  private void fill(int rows) {
    block.clear();
    inBlock.clear();
    int left = rows;
    for (Started text : started) {
      if (left > 0 && text.job.layer() == started.getFirst().job.layer()) {
        text.count = Math.min(left, text.job.ids().size() - text.done);
        left -= text.count;
        inBlock.add(text);
        block.begin(text.pageTable.pages());
        for (int i = 0; i < text.count; i++) {
          block.add(runner.allocateSlot(), text.done + i);
        }
      }
    }
  }

  private int[] ids() {
    int[] ids = new int[block.rows()];
    int row = 0;
    for (Started text : inBlock) {
      for (int i = 0; i < text.count; i++) {
        ids[row++] = text.job.ids().get(text.done + i);
      }
    }
    return ids;
  }

  private void tell(Started text, int firstRow) {
    try {
      for (int i = 0; i < text.count; i++) {
        runner.read(block.slot(firstRow + i), bytes, 0);
        ByteBuffer.wrap(bytes).order(ByteOrder.nativeOrder()).asFloatBuffer().get(state);
        text.job.listener().onHiddenState(text.done + i, state);
      }
    } catch (RuntimeException e) {
      text.job.end().completeExceptionally(e);
    }
    text.done += text.count;
    if (text.done == text.job.ids().size()) {
      text.job.end().complete(text.done);
    }
  }

  private void removeEnded() {
    started.removeIf(
        text -> {
          if (text.ended()) {
            text.pageTable.close();
          }
          return text.ended();
        });
  }

  void fail(RuntimeException cause) {
    queue.forEach(job -> job.end().completeExceptionally(cause));
    queue.clear();
    started.forEach(text -> text.job.end().completeExceptionally(cause));
    removeEnded();
  }
}
