package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.RequestListener;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.model.Decoder;
import org.eellm.model.Head;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A batch over a model whose final head is on another stage, which answers later. */
final class StagedBatchTest {
  private static final int TEXTS = 4;
  private static final int TOKENS = 10;

  private final List<String> calls = new ArrayList<>();
  private final List<Recorder> recorders = new ArrayList<>();
  private Decoder model;
  private Staged runner;
  private Batch batch;

  private final class Staged extends ScriptedRunner {
    private boolean broken;

    Staged(Decoder model) {
      super(model, 64);
    }

    @Override
    public int stages() {
      return 2;
    }

    @Override
    public boolean isRemote(Head head) {
      return !head.isExit();
    }

    @Override
    public void embed(ForwardBatch rows, int[] ids) {
      if (broken) {
        throw new IllegalStateException("broken");
      }
      calls.add("embed " + rows.ranges());
      super.embed(rows, ids);
    }

    @Override
    public HeadOutput predict(Head head, ForwardBatch rows, int[] asked, int count) {
      calls.add("ask " + count);
      return super.predict(head, rows, asked, count);
    }

    @Override
    boolean isPredictionThere() {
      return false;
    }

    @Override
    void onAwait() {
      calls.add("await");
    }
  }

  private static final class Recorder implements RequestListener {
    private int tokens;
    private final List<Result> results = new ArrayList<>();
    private final List<RuntimeException> failures = new ArrayList<>();

    @Override
    public Reaction onToken(GeneratedToken token) {
      tokens++;
      return Reaction.CONTINUE;
    }

    @Override
    public void onEnd(Result result) {
      results.add(result);
    }

    @Override
    public void onFailure(RuntimeException cause) {
      failures.add(cause);
    }
  }

  @BeforeEach
  void start() {
    model = SmallModel.plain();
    runner = new Staged(model);
    batch = new Batch(runner, Limits.of(model));
    IntStream.range(0, TEXTS).forEach(_ -> add());
  }

  @AfterEach
  void end() {
    batch.close();
    model.close();
  }

  private Job add() {
    Recorder recorder = new Recorder();
    recorders.add(recorder);
    Request request =
        new Request(List.of(1, 2, 3), TOKENS, Set.of(), DecodingMethod.full(), Sampler.greedy());
    Job job = batch.job(request, "the prompt", recorder);
    batch.add(job);
    return job;
  }

  @Test
  void step_ofTwoStages_asksForHalfOfTheTextsWhileTheOthersAreWaitedFor() {
    while (!batch.isIdle()) {
      batch.step();
    }

    List<String> one = List.of("await", "embed 2", "ask 2");
    List<String> expected = new ArrayList<>(List.of("embed 2", "ask 2", "embed 2", "ask 2"));
    for (int i = 0; i < 2 * (TOKENS - 1); i++) {
      expected.addAll(one);
    }
    expected.addAll(List.of("await", "await"));
    assertThat(calls).isEqualTo(expected);
    assertThat(recorders).allSatisfy(text -> assertThat(text.results).hasSize(1));
    assertThat(runner.takenCount()).isZero();
  }

  @Test
  void step_cancelledWhileItsAnswerIsWaitedFor_endsWithTheBlock() {
    Job job = add();
    batch.step();
    batch.step();
    job.cancel();
    while (!batch.isIdle()) {
      batch.step();
    }

    assertThat(recorders.getLast().results.getFirst().reason())
        .isEqualTo(Result.FinishReason.CANCELLED);
    assertThat(recorders.stream().limit(TEXTS).map(one -> one.tokens)).containsOnly(TOKENS);
    assertThat(runner.takenCount()).isZero();
  }

  @Test
  void stepOrFail_whileAnotherBlockIsUnderWay_failsAllRunningTextsAndGoesOn() {
    batch.stepOrFail();
    runner.broken = true;
    batch.stepOrFail();
    runner.broken = false;

    assertThat(recorders)
        .allSatisfy(one -> assertThat(one.failures.getFirst()).hasMessage("broken"));
    assertThat(runner.takenCount()).isZero();
    assertThat(batch.usedPages()).isZero();

    add();
    while (!batch.isIdle()) {
      batch.stepOrFail();
    }
    assertThat(recorders.getLast().tokens).isEqualTo(TOKENS);
  }
}
