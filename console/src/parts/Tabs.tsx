import { Link } from "@tanstack/react-router";

/** The pages within a page; each has an address of its own. */
export function Tabs({ label, links }: { label: string; links: { to: string; name: string }[] }) {
  return (
    <nav className="tabs" aria-label={label}>
      {links.map((one) => <Link key={one.to} to={one.to} activeOptions={{ exact: true, includeSearch: false }} activeProps={{ "aria-current": "page" }}>{one.name}</Link>)}
    </nav>
  );
}
