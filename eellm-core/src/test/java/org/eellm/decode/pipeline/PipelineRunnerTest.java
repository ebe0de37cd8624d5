package org.eellm.decode.pipeline;

import java.util.ArrayList;
import java.util.List;
import org.eellm.decode.Batch;
import org.eellm.decode.Generator;
import org.eellm.decode.SmallModel;
import org.eellm.decode.cache.PagePool;
import org.eellm.decode.engine.torch.TorchRunner;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.ResultFuture;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.distributed.message.PeerChannel;
import org.eellm.model.Decoder;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** Stages whose layers libtorch passes, as it does on GPUs; the engine's tests have the others. */
@Timeout(60)
@ExtendWith(OneThread.class)
final class PipelineRunnerTest {
  @Test
  void run_onStagesOfLibtorch_isWhatOneRankSays() {
    try (Decoder whole = SmallModel.withBlocks()) {
      List<Request> requests = PipelineRanks.requests();
      List<Result> expected =
          Generator.generate(whole, Limits.of(whole), requests, TokenListener.none());

      List<List<Result>> results =
          PipelineRanks.onRanks(
              whole.architecture(),
              new Mesh(1, 1, 3),
              (part, world) -> generate(part, world, requests));

      PipelineRanks.assertSame(results.getFirst(), expected);
    }
  }

  private static List<Result> generate(Decoder part, World world, List<Request> requests) {
    try (PeerChannel channel = world.stageChannel()) {
      List<Result> results = List.of();
      if (world.pp().rank() > 0) {
        new StageService(channel, (vocabulary, pages) -> new TorchRunner(part, vocabulary, pages))
            .run();
      } else {
        StageLinks links = new StageLinks(channel, world.pp().size());
        results = generate(part, links, requests);
        links.leave();
      }
      channel.end();
      return results;
    }
  }

  private static List<Result> generate(Decoder part, StageLinks links, List<Request> requests) {
    Limits limits = Limits.of(part);
    Vocabulary vocabulary = limits.vocabulary();
    TorchRunner first = new TorchRunner(part, vocabulary, PagePool.pages(limits.cacheTokens()));
    List<ResultFuture> futures = new ArrayList<>();
    try (Batch batch = new Batch(new PipelineRunner(first, vocabulary, links), limits)) {
      for (Request request : requests) {
        ResultFuture future = new ResultFuture(_ -> Reaction.CONTINUE);
        futures.add(future);
        batch.add(batch.job(request, "the prompt", future));
      }
      while (!batch.isIdle()) {
        batch.step();
      }
    }
    return futures.stream().map(ResultFuture::await).toList();
  }
}
