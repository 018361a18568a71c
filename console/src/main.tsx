import { QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createRootRoute, createRoute, createRouter, Link, redirect, RouterProvider } from "@tanstack/react-router";
import { setNonce } from "get-nonce";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Problem } from "./api";
import { Failure } from "./parts/Failure";
import { Access } from "./pages/Access";
import { Activity } from "./pages/Activity";
import { Approvals } from "./pages/Approvals";
import { Audit } from "./pages/Audit";
import { Health } from "./pages/Health";
import { Invocation } from "./pages/Invocation";
import { Operation, Operations } from "./pages/Operations";
import { Plugins } from "./pages/Plugins";
import { Explain } from "./pages/policy/Explain";
import { Give } from "./pages/policy/Give";
import { Grants } from "./pages/policy/Grants";
import { Proposals } from "./pages/policy/Proposals";
import { Simulate } from "./pages/policy/Simulate";
import { Versions } from "./pages/policy/Versions";
import { Session, Stayed } from "./pages/Session";
import { Settings } from "./pages/Settings";
import { Shell } from "./Shell";
import "./look.css";

const root = createRootRoute({ component: Shell, notFoundComponent: () => <p className="empty">There is no such page. <Link to="/activity">Go to the activity</Link>, or search with Ctrl K.</p> });
const page = <Path extends string>(path: Path, component: () => React.ReactNode) =>
  createRoute({ getParentRoute: () => root, path, component });

const routeTree = root.addChildren([
  createRoute({ getParentRoute: () => root, path: "/", beforeLoad: () => { throw redirect({ to: "/activity" }); } }),
  page("/activity", Activity),
  page("/invocations/$id", Invocation),
  page("/approvals", Approvals),
  page("/approvals/$id", Approvals),
  page("/operations", Operations),
  page("/operations/$name", Operation),
  page("/audit", Audit),
  page("/access", Access),
  page("/sessions/$id", Session),
  page("/stays/$who", Stayed),
  page("/health", Health),
  page("/policy", Grants),
  page("/policy/give", Give),
  page("/policy/explain", Explain),
  page("/policy/simulate", Simulate),
  page("/policy/proposals", Proposals),
  page("/policy/versions", Versions),
  page("/plugins", Plugins),
  page("/settings", Settings),
]);

const router = createRouter({ routeTree, basepath: "/ui", defaultPreload: false, defaultErrorComponent: ({ error }) => <Failure of={error} /> });

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}

const queries = new QueryClient({
  // what was shown while one might see it does not stay when one may not any more
  queryCache: new QueryCache({
    onError: (fault, query) => { if (fault instanceof Problem && [401, 403, 404].includes(fault.status)) query.setState({ data: undefined }); },
  }),
  defaultOptions: {
    queries: { staleTime: 5_000, retry: (count, fault) => count < 2 && !(fault instanceof Problem && fault.status < 500) },
  },
});

// what locks the page behind a dialog adds a style of its own
setNonce(document.querySelector<HTMLMetaElement>("meta[property=csp-nonce]")?.nonce ?? "");

const place = document.getElementById("root");
if (!place) throw new Error("the page has no place for the console");
createRoot(place).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <RouterProvider router={router} />
    </QueryClientProvider>
  </StrictMode>,
);
